local bill = aggregate "bill" { initial = { services = 0 } }

-- how the state is built from its history
function bill.apply.BillCreated(state, e)
  state.customer, state.opened = e.customer, e.start_date
end

function bill.apply.ServicesAddedToBill(state, e)
  state.services = state.services + e.services
end

function bill.apply.BillClosed(state, e)
  state.closed = e.close_date
end

function bill.apply.BillReopened(state)
  state.closed = nil
end

local function must_be_open(state, m)
  if not state.opened then reject("unknown", "there is no bill %s", m.id) end
  if state.closed then reject("closed", "bill %s was closed on %s", m.id, state.closed) end
end

-- what a command does: it reads the state and gives events
function bill.execute.CreateBill(state, c, m)
  if state.opened then reject("exists", "bill %s was opened on %s", m.id, state.opened) end
  return BillCreated { customer = c.customer, start_date = c.start_date }
end

function bill.execute.AddServicesToBill(state, c, m)
  must_be_open(state, m)
  if c.services <= 0 then reject("no_services", "services must be at least 1, not %d", c.services) end
  return ServicesAddedToBill { services = c.services }
end

function bill.execute.CloseBill(state, c, m)
  must_be_open(state, m)
  if c.close_date < state.opened then
    reject("too_early", "bill %s was opened on %s", m.id, state.opened)
  end
  emit(ServicesAddedToBill { services = 1 }) -- closing is a service; applied at once
  return BillClosed { customer = state.customer, close_date = c.close_date, note = c.note }
end

function bill.execute.ReopenBill(state, _, m)
  if not state.closed then reject("open", "bill %s is not closed", m.id) end
  return BillReopened {}
end

-- two customers' services do not disturb each other
function bill.conflicts(mine, theirs)
  return mine.type ~= "ServicesAddedToBill" or theirs.type ~= "ServicesAddedToBill"
end
