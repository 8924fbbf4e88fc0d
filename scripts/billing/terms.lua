-- A domain service: how long we wait for money before we ask for it (again).
local terms = {}

function terms.expires_on(since) return since + days(15) end

return terms
