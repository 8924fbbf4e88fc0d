-- Whom we can write to.
local customers = projection "customers"

function customers.when.UserCreated(view, e) view.login = e.login end

function customers.when.UserRemoved() return false end
