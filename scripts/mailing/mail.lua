-- Mail goes out over HTTP. What was asked for twice by a hub that was killed in between has the same Idempotency-Key.
local mail = service "mail"

function mail.when.SendReminder(c)
  local answer = http.post(env.MAIL_URL, { timeout = "5s", json = {
    to      = c.to,
    subject = ("Invoice %s"):format(c.invoice),
    text    = ("%s is still open, and was due on %s."):format(c.open, c.due_on:sub(1, 10)),
  } })
  if answer.status == 429 or answer.status >= 500 then retry("10s") end
  if answer.status >= 300 then reject("refused", "the mail server answered %d", answer.status) end
  publish(ReminderSent { to = c.to, invoice = c.invoice, open = c.open, due_on = c.due_on })
end
