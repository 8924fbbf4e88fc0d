-- sorted_keys.lua: the keys of a map in the order of their texts, as a list: what ends in a message, a hash or a list does not go
-- through bare `pairs`.

local host = ...
local tostring = host.text -- shows no addresses: texts are the same in every process

return function(map)
  local keys = {}
  for key in pairs(map) do keys[#keys + 1] = key end
  table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
  return keys
end
