-- What billing knows of a user of security: the login, where mail goes.
local user = aggregate "user"

function user.apply.UserCreated(state, e) state.login = e.login end

function user.apply.UserRemoved(state) state.login = nil end

function user.execute.CreateUser(state, c)
  if state.login ~= c.login then return UserCreated { login = c.login } end
end

function user.execute.RemoveUser(state)
  if state.login then return UserRemoved {} end
end
