-- The fines that are with the collectors, and what was open when they got them.
local in_collection = projection "in_collection" { index = { "outstanding", "since" } }

function in_collection.when.SentToCollection(view, e)
  view.since, view.outstanding = e.date, e.outstanding
end
