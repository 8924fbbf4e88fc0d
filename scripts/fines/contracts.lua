-- Traffic fines of an Italian town: created, sent, notified, raised by a penalty, paid, appealed against, collected.
-- `date` is the local day of the office (the envelope's `at` is UTC). Amounts are euro.
contracts [[
  let offence = (officer: string, vehicle_class: string, article: integer, points: integer, dismissal: string)
  let ruling  = (dismissal: string)

  CreateFine?             (amount: decimal, offence, date: string)
  FineCreated!            (amount: decimal, offence, date: string)
  SendFine?               (expense: decimal, date: string)
  FineSent!               (expense: decimal, date: string)
  NotifyOffender?         (notification_type: string, last_sent: string?, date: string)
  OffenderNotified!       (notification_type: string, last_sent: string?, date: string)
  AddPenalty?             (amount: decimal, date: string)
  PenaltyAdded!           (amount: decimal, date: string)
  RecordPayment?          (amount: decimal, reported_total: decimal?, date: string)
  PaymentReceived!        (amount: decimal, reported_total: decimal?, date: string)
  SendToCollection?       (date: string)
  SentToCollection!       (outstanding: decimal, date: string)

  SetAppealDate?          (date: string)
  AppealDateSet!          (date: string)
  SendAppeal?             (ruling, date: string)
  AppealSent!             (ruling, date: string)
  AppealToJudge?          (officer: string, ruling, matricola: integer?, date: string)
  AppealedToJudge!        (officer: string, ruling, matricola: integer?, date: string)

  -- what the prefecture tells us: nothing to decide, so there are no commands
  AppealResultReceived!   (date: string)
  AppealResultNotified!   (date: string)
]]
