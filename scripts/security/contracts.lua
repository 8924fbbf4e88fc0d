-- Users, and the logins by which they come in. A password comes here as its hash only.
contracts [[
  RegisterUser?   (name: pii string)
  UserRegistered! (name: pii string)
  RemoveUser?
  UserRemoved!

  AddPassword?    (user_id: string, hash: string)
  PasswordAdded!  (user_id: string, hash: string)
]]
