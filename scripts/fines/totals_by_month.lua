-- Free style: one document per local month, count and euro by kind of event.
local totals = projection "totals_by_month" { key = false }

local function add(docs, e, m, euro)
  docs:update(e.date:sub(1, 7), {}, function(month)
    local kind = month[m.type]
    if not kind then
      kind = { count = 0 }
      month[m.type] = kind
    end
    kind.count = kind.count + 1
    if euro then kind.euro = (kind.euro or decimal "0.00") + euro end
  end)
end

function totals.when.FineCreated(docs, e, m) add(docs, e, m, e.amount) end
function totals.when.FineSent(docs, e, m) add(docs, e, m, e.expense) end
function totals.when.PenaltyAdded(docs, e, m) add(docs, e, m, e.amount) end
function totals.when.PaymentReceived(docs, e, m) add(docs, e, m, e.amount) end
function totals.when.SentToCollection(docs, e, m) add(docs, e, m, e.outstanding) end
function totals.when.OffenderNotified(docs, e, m) add(docs, e, m) end
function totals.when.AppealDateSet(docs, e, m) add(docs, e, m) end
function totals.when.AppealSent(docs, e, m) add(docs, e, m) end
function totals.when.AppealedToJudge(docs, e, m) add(docs, e, m) end
function totals.when.AppealResultReceived(docs, e, m) add(docs, e, m) end
function totals.when.AppealResultNotified(docs, e, m) add(docs, e, m) end
