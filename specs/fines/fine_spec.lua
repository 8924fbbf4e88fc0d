local offence = { officer = "18", vehicle_class = "A", article = 158, points = 0, dismissal = "NIL" }

local function create(amount, date)
  return { amount = decimal(amount), date = date, officer = offence.officer, vehicle_class = offence.vehicle_class,
           article = offence.article, points = offence.points, dismissal = offence.dismissal }
end

describe("creating a fine", function()
  it("records it", function()
    aggregate("fine", "A1"):when { CreateFine(create("35.00", "2006-07-24")) }
      :expect { FineCreated(create("35.00", "2006-07-24")) }
  end)

  it("is refused the second time", function()
    aggregate("fine", "A1"):given { FineCreated(create("35.00", "2006-07-24")) }
      :when { CreateFine(create("40.00", "2006-07-25")) }:rejects "exists"
  end)

  it("is refused below zero", function()
    aggregate("fine", "A1"):when { CreateFine(create("-1.00", "2006-07-24")) }:rejects "negative"
  end)
end)

describe("sending a fine", function()
  it("adds the expense", function()
    aggregate("fine", "A1"):given { FineCreated(create("35.00", "2006-07-24")) }
      :when { SendFine { expense = decimal "11.00", date = "2006-12-05" } }
      :expect { FineSent { expense = decimal "11.00", date = "2006-12-05" } }
  end)

  it("is refused for a fine that does not exist", function()
    aggregate("fine", "A1"):when { SendFine { expense = decimal "11.00", date = "2006-12-05" } }:rejects "unknown"
  end)

  it("is refused the second time", function()
    aggregate("fine", "A1")
      :given { FineCreated(create("35.00", "2006-07-24")), FineSent { expense = decimal "11.00", date = "2006-12-05" } }
      :when { SendFine { expense = decimal "11.00", date = "2006-12-06" } }:rejects "repeated"
  end)
end)

describe("notifying the offender", function()
  it("is recorded", function()
    aggregate("fine", "A1")
      :given { FineCreated(create("35.00", "2006-07-24")), FineSent { expense = decimal "11.00", date = "2006-12-05" } }
      :when { NotifyOffender { notification_type = "P", last_sent = "N", date = "2007-01-15" } }
      :expect { OffenderNotified { notification_type = "P", last_sent = "N", date = "2007-01-15" } }
  end)

  it("is refused before the fine was sent", function()
    aggregate("fine", "A1"):given { FineCreated(create("35.00", "2006-07-24")) }
      :when { NotifyOffender { notification_type = "P", date = "2007-01-15" } }:rejects "not_sent"
  end)
end)

local function notified()
  return FineCreated(create("35.00", "2006-07-24")), FineSent { expense = decimal "11.00", date = "2006-12-05" },
         OffenderNotified { notification_type = "P", date = "2007-01-15" }
end

describe("adding a penalty", function()
  it("replaces the amount", function()
    aggregate("fine", "A1"):given { notified() }
      :when { AddPenalty { amount = decimal "71.50", date = "2007-03-16" } }
      :expect { PenaltyAdded { amount = decimal "71.50", date = "2007-03-16" } }
  end)

  it("is refused when the offender does not know", function()
    aggregate("fine", "A1"):given { FineCreated(create("35.00", "2006-07-24")) }
      :when { AddPenalty { amount = decimal "71.50", date = "2007-03-16" } }:rejects "not_notified"
  end)

  it("is refused below the fine", function()
    aggregate("fine", "A1"):given { notified() }
      :when { AddPenalty { amount = decimal "30.00", date = "2007-03-16" } }:rejects "lower"
  end)
end)

describe("paying a fine", function()
  it("is recorded, in instalments too", function()
    aggregate("fine", "A1"):given { FineCreated(create("35.00", "2006-07-24")) }
      :when { RecordPayment { amount = decimal "20.00", date = "2006-08-01" },
              RecordPayment { amount = decimal "15.00", date = "2006-08-02" } }
      :expect { PaymentReceived { amount = decimal "20.00", date = "2006-08-01" },
                PaymentReceived { amount = decimal "15.00", date = "2006-08-02" } }
  end)

  it("is refused on a fine that does not exist", function()
    aggregate("fine", "A1"):when { RecordPayment { amount = decimal "20.00", date = "2006-08-01" } }:rejects "unknown"
  end)

  it("is refused once the collectors have it", function()
    aggregate("fine", "A1")
      :given { FineCreated(create("35.00", "2006-07-24")),
               SentToCollection { outstanding = decimal "35.00", date = "2009-03-30" } }
      :when { RecordPayment { amount = decimal "20.00", date = "2009-04-01" } }:rejects "in_collection"
  end)
end)

describe("sending a fine to collection", function()
  it("says what is outstanding", function()
    aggregate("fine", "A1")
      :given { FineCreated(create("35.00", "2006-07-24")), FineSent { expense = decimal "11.00", date = "2006-12-05" },
               OffenderNotified { notification_type = "P", date = "2007-01-15" },
               PenaltyAdded { amount = decimal "71.50", date = "2007-03-16" },
               PaymentReceived { amount = decimal "20.00", date = "2007-04-01" } }
      :when { SendToCollection { date = "2009-03-30" } }
      :expect { SentToCollection { outstanding = decimal "62.50", date = "2009-03-30" } }
  end)

  it("is refused without a penalty", function()
    aggregate("fine", "A1"):given { notified() }
      :when { SendToCollection { date = "2009-03-30" } }:rejects "no_penalty"
  end)
end)

describe("appealing", function()
  it("takes a date, an appeal and a judge, each once", function()
    aggregate("fine", "A1"):given { notified() }
      :when { SetAppealDate { date = "2007-02-01" }, SendAppeal { dismissal = "#", date = "2007-02-02" },
              AppealToJudge { officer = "22", dismissal = "G", matricola = 0, date = "2007-05-01" } }
      :expect { AppealDateSet { date = "2007-02-01" }, AppealSent { dismissal = "#", date = "2007-02-02" },
                AppealedToJudge { officer = "22", dismissal = "G", matricola = 0, date = "2007-05-01" } }
  end)

  it("is refused for a fine that does not exist", function()
    aggregate("fine", "A1"):when { SetAppealDate { date = "2007-02-01" } }:rejects "unknown"
    aggregate("fine", "A1"):when { SendAppeal { dismissal = "#", date = "2007-02-02" } }:rejects "unknown"
    aggregate("fine", "A1"):when { AppealToJudge { officer = "22", dismissal = "G", date = "2007-05-01" } }
      :rejects "unknown"
  end)

  it("is refused twice", function()
    aggregate("fine", "A1"):given { FineCreated(create("35.00", "2006-07-24")), AppealSent { dismissal = "#", date = "2007-02-02" } }
      :when { SendAppeal { dismissal = "#", date = "2007-02-03" } }:rejects "repeated"
  end)
end)
