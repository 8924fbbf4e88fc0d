-- Rows of the "Road Traffic Fine Management Process" log (doi:10.4121/uuid:270fd440-1057-4fb9-89a9-b699b47990f5).
local function euro(number) return decimal(number):round(2) end

local rows = {}

rows["Create Fine"] = function(row)
  return CreateFine { amount = euro(row.amount), officer = row.resource, vehicle_class = row.vehicle_class,
                      article = row.article, points = row.points, dismissal = row.dismissal, date = row.local_date }
end
rows["Send Fine"] = function(row)
  return SendFine { expense = euro(row.expense), date = row.local_date }
end
rows["Insert Fine Notification"] = function(row)
  return NotifyOffender { notification_type = row.notification_type, last_sent = row.last_sent, date = row.local_date }
end
rows["Add penalty"] = function(row)
  return AddPenalty { amount = euro(row.amount), date = row.local_date }
end
rows["Payment"] = function(row)
  return RecordPayment { amount = euro(row.payment_amount), reported_total = euro(row.total_payment_amount),
                         date = row.local_date }
end
rows["Send for Credit Collection"] = function(row)
  return SendToCollection { date = row.local_date }
end
rows["Insert Date Appeal to Prefecture"] = function(row)
  return SetAppealDate { date = row.local_date }
end
rows["Send Appeal to Prefecture"] = function(row)
  return SendAppeal { dismissal = row.dismissal, date = row.local_date }
end
rows["Appeal to Judge"] = function(row)
  return AppealToJudge { officer = row.resource, dismissal = row.dismissal, matricola = row.matricola,
                         date = row.local_date }
end

local facts = {}

facts["Receive Result Appeal from Prefecture"] = function(row)
  return AppealResultReceived { date = row.local_date }
end
facts["Notify Result Appeal to Offender"] = function(row)
  return AppealResultNotified { date = row.local_date }
end

return function(row)
  if rows[row.activity] then
    send.fine(row.case_id, rows[row.activity](row), { at = row.time })
  elseif facts[row.activity] then
    record.fine(row.case_id, facts[row.activity](row), { at = row.time })
  else
    error("unknown activity " .. tostring(row.activity))
  end
end
