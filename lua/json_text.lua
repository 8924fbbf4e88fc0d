-- json_text.lua: JSON over several lines, members in order of name but for those that a reader looks for first.
--
--   local text = json_text({ openapi = "3.1.0", tags = json_text.list {} })
local core = require "lore.core"

local LIST = {}
local FIRST = { openapi = 1, asyncapi = 1, info = 2, type = 3, title = 4, name = 5, summary = 6, description = 7, ["$ref"] = 1 }

local json_text = {}

-- A list that may be empty: {} alone is an object.
function json_text.list(items) return setmetatable(items, LIST) end

local function before(a, b)
  local x, y = FIRST[a] or 99, FIRST[b] or 99
  if x ~= y then return x < y end
  return a < b
end

local function put(out, value, indent)
  if type(value) ~= "table" then
    out[#out + 1] = core.json(value)
    return
  end
  local inner = indent .. "  "
  local is_list = #value > 0 or getmetatable(value) ~= nil
  if next(value) == nil then
    out[#out + 1] = is_list and "[]" or "{}"
    return
  end
  out[#out + 1] = is_list and "[" or "{"
  local keys = {}
  for key in pairs(value) do keys[#keys + 1] = key end
  table.sort(keys, not is_list and before or nil)
  for index, key in ipairs(keys) do
    out[#out + 1] = (index > 1 and ",\n" or "\n") .. inner
    if not is_list then out[#out + 1] = core.json(key) .. ": " end
    put(out, value[key], inner)
  end
  out[#out + 1] = "\n" .. indent .. (is_list and "]" or "}")
end

return setmetatable(json_text, { __call = function(_, value)
  local out = {}
  put(out, value, "")
  return table.concat(out) .. "\n"
end })
