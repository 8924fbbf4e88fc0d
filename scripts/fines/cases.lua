-- The end state of each fine.
local cases = projection "cases" {
  initial = { events = 0, expense = decimal "0.00", payments = 0, paid = decimal "0.00" },
  index   = { "status" },
}

-- Every event counts; what is owed, what is paid and the collection decide the status.
local function count(case, m)
  case.events = case.events + 1
  case.first = case.first or m.at
  case.last = m.at
end

local function settle(case)
  case.balance = case.amount + case.expense - case.paid
  local status
  if case.payments == 0 then status = "unpaid"
  elseif case.balance:is_zero() then status = "paid"
  elseif case.balance < decimal(0) then status = "overpaid"
  else status = "partly_paid" end
  case.status = case.collection and status .. "+credit_collection" or status
end

function cases.when.FineCreated(case, e, m)
  count(case, m)
  case.fine, case.amount, case.dismissal = e.amount, e.amount, e.dismissal
  settle(case)
end

function cases.when.FineSent(case, e, m)
  count(case, m)
  case.expense = case.expense + e.expense
  settle(case)
end

function cases.when.PenaltyAdded(case, e, m)
  count(case, m)
  case.amount = e.amount
  settle(case)
end

function cases.when.PaymentReceived(case, e, m)
  count(case, m)
  case.payments, case.paid = case.payments + 1, case.paid + e.amount
  settle(case)
end

function cases.when.SentToCollection(case, _, m)
  count(case, m)
  case.collection = true
  settle(case)
end

function cases.when.AppealSent(case, e, m)
  count(case, m)
  case.dismissal = e.dismissal
end

function cases.when.AppealedToJudge(case, e, m)
  count(case, m)
  case.dismissal = e.dismissal
end

function cases.when.OffenderNotified(case, _, m) count(case, m) end

function cases.when.AppealDateSet(case, _, m) count(case, m) end

function cases.when.AppealResultReceived(case, _, m) count(case, m) end

function cases.when.AppealResultNotified(case, _, m) count(case, m) end
