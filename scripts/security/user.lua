local user = aggregate "user"

function user.apply.UserRegistered(state) state.registered = true end

function user.apply.UserRemoved(state) state.removed = true end

function user.execute.RegisterUser(state, c, m)
  if state.registered then reject("exists", "user %s was registered before", m.id) end
  return UserRegistered { name = c.name }
end

function user.execute.RemoveUser(state, _, m)
  if not state.registered or state.removed then reject("unknown", "there is no user %s", m.id) end
  return UserRemoved {}
end
