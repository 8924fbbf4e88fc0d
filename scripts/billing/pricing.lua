-- A domain service: plain functions that aggregates and projections share.
local pricing = {}

-- What a list of invoice lines costs, in cents exactly.
function pricing.total(lines)
  local total = decimal "0.00"
  for _, line in ipairs(lines) do
    total = total + line.price * line.quantity
  end
  return total:round(2)
end

return pricing
