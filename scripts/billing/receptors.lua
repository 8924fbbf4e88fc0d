-- Users are security's: here is a copy of what we need of them.
local replication = receptor "replication" { since = "start" }

replication.when["security.PasswordAdded"] = function(e, m)
  send.user(e.user_id, CreateUser { login = m.id })
end

replication.when["security.UserRemoved"] = function(_, m)
  send.user(m.id, RemoveUser {})
end

-- The task cannot know whether an invoice was paid a moment ago: the invoice itself decides.
local expiration = receptor "expiration"

function expiration.when.InvoicePossiblyExpired(e)
  send.invoice(e.invoice, ExpireInvoice { login = e.login, on = e.on })
end
