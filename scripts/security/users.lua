-- One document per user, out of the events of two aggregates: so it names its key.
local users = projection "users" {
  key     = function(e, m) return m.aggregate == "login" and e.user_id or m.id end,
  initial = { logins = {} },
}

function users.when.UserRegistered(view, e) view.name = e.name end

function users.when.PasswordAdded(view, _, m) view.logins[m.id] = m.at end

function users.when.UserRemoved() return false end
