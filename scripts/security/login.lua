-- Unique across users: a login is named by its mail address, and of each name there is one stream.
local login = aggregate "login"

function login.apply.PasswordAdded(state, e) state.user_id = e.user_id end

function login.execute.AddPassword(state, c, m)
  if state.user_id and state.user_id ~= c.user_id then
    reject("taken", "%s is the login of another user", m.id)
  end
  return PasswordAdded { user_id = c.user_id, hash = c.hash }
end
