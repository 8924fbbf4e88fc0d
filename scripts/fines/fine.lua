local fine = aggregate "fine" { initial = { expense = decimal "0.00", paid = decimal "0.00", done = {} } }

function fine.apply.FineCreated(state, e)
  state.created, state.amount = e.date, e.amount
end

function fine.apply.FineSent(state, e)
  state.sent, state.expense = e.date, state.expense + e.expense
end

function fine.apply.OffenderNotified(state, e)
  state.notified = e.date
end

function fine.apply.PenaltyAdded(state, e) -- fine and penalty: it replaces the amount
  state.penalty, state.amount = e.date, e.amount
end

function fine.apply.PaymentReceived(state, e)
  state.paid = state.paid + e.amount
end

function fine.apply.SentToCollection(state, e)
  state.collection = e.date
end

function fine.apply.AppealDateSet(state, e) state.done.appeal_date = e.date end

function fine.apply.AppealSent(state, e) state.done.appeal = e.date end

function fine.apply.AppealedToJudge(state, e) state.done.judge = e.date end

local function must_exist(state, m)
  if not state.created then reject("unknown", "there is no fine %s", m.id) end
end

local function only_once(before, what, m)
  if before then reject("repeated", "fine %s: %s on %s already", m.id, what, before) end
end

local function not_negative(amount)
  if amount < decimal(0) then reject("negative", "an amount of %s is negative", amount) end
end

function fine.execute.CreateFine(state, c, m)
  if state.created then reject("exists", "fine %s was created on %s", m.id, state.created) end
  not_negative(c.amount)
  return FineCreated { amount = c.amount, officer = c.officer, vehicle_class = c.vehicle_class, article = c.article,
                       points = c.points, dismissal = c.dismissal, date = c.date }
end

function fine.execute.SendFine(state, c, m)
  must_exist(state, m)
  only_once(state.sent, "sent", m)
  not_negative(c.expense)
  return FineSent { expense = c.expense, date = c.date }
end

function fine.execute.NotifyOffender(state, c, m)
  must_exist(state, m)
  only_once(state.notified, "notified", m)
  if not state.sent then reject("not_sent", "fine %s was never sent", m.id) end
  return OffenderNotified { notification_type = c.notification_type, last_sent = c.last_sent, date = c.date }
end

function fine.execute.AddPenalty(state, c, m)
  must_exist(state, m)
  only_once(state.penalty, "raised", m)
  if not state.notified then reject("not_notified", "the offender of fine %s was never notified", m.id) end
  if c.amount < state.amount then
    reject("lower", "a penalty replaces %s by more, not by %s", state.amount, c.amount)
  end
  return PenaltyAdded { amount = c.amount, date = c.date }
end

function fine.execute.RecordPayment(state, c, m)
  must_exist(state, m)
  not_negative(c.amount)
  if state.collection then reject("in_collection", "fine %s is with the collectors since %s", m.id, state.collection) end
  return PaymentReceived { amount = c.amount, reported_total = c.reported_total, date = c.date }
end

function fine.execute.SendToCollection(state, c, m)
  must_exist(state, m)
  only_once(state.collection, "sent to collection", m)
  if not state.penalty then reject("no_penalty", "fine %s was never raised by a penalty", m.id) end
  return SentToCollection { outstanding = state.amount + state.expense - state.paid, date = c.date }
end

function fine.execute.SetAppealDate(state, c, m)
  must_exist(state, m)
  only_once(state.done.appeal_date, "appeal date set", m)
  return AppealDateSet { date = c.date }
end

function fine.execute.SendAppeal(state, c, m)
  must_exist(state, m)
  only_once(state.done.appeal, "appeal sent", m)
  return AppealSent { dismissal = c.dismissal, date = c.date }
end

function fine.execute.AppealToJudge(state, c, m)
  must_exist(state, m)
  only_once(state.done.judge, "appealed to the judge", m)
  return AppealedToJudge { officer = c.officer, dismissal = c.dismissal, matricola = c.matricola, date = c.date }
end
