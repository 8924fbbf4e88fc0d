contracts [[
  let reminder  = (to: string, invoice: string, open: decimal, due_on: time)

  SendReminder? (reminder)
  ReminderSent! (reminder)
]]
