-- An invoice that expired is a reminder to its customer.
local reminders = receptor "reminders"

reminders.when["billing.InvoiceExpired"] = function(e, m)
  send.mail(SendReminder { to = e.login, invoice = m.id, open = e.open, due_on = e.due_on })
end
