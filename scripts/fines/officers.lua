-- One document per officer: the fines they wrote and the appeals they met in court.
local officers = projection "officers" {
  key     = function(e) return e.officer end,
  initial = { fines = 0, euro = decimal "0.00", appeals = 0 },
  index   = { "fines" },
}

function officers.when.FineCreated(officer, e)
  officer.fines, officer.euro = officer.fines + 1, officer.euro + e.amount
end

function officers.when.AppealedToJudge(officer)
  officer.appeals = officer.appeals + 1
end
