-- bare.lua PROJECTION EVENTS: the handlers of a projection in bare Lua, as a limit for rebuilds: no decoding, no checks, no storing,
-- decimals are floats. EVENTS is a Lua file that returns a list of { type, envelope, function that makes the event's table }.
-- Prints events a second of CPU time.
local script, events = arg[1], dofile(arg[2])
local PASSES = 30

local by_type, options = {}, {}
local env = setmetatable({
  decimal = tonumber,
  projection = function(name)
    local declared = { when = by_type, name = name }
    return setmetatable(declared, { __call = function(_, given)
      options = given
      return declared
    end })
  end,
}, { __index = _G })
local zero = { is_zero = function(number) return number == 0 end }
debug.setmetatable(0, { __index = zero })
assert(loadfile(script, "t", env))()

local documents = {}
local function fresh(initial)
  local document = {}
  for key, value in pairs(initial or {}) do document[key] = value end
  return document
end
local docs = { update = function(_, key, initial, change)
  local document = documents[key]
  if not document then
    document = fresh(initial)
    documents[key] = document
  end
  change(document)
end }

local keyed = options.key == nil
local began = os.clock()
for _ = 1, PASSES do
  documents = {}
  for index = 1, #events do
    local event = events[index]
    local m = event[2]
    local handler = by_type[event[1]]
    if handler and keyed then
      local document = documents[m.id]
      if not document then
        document = fresh(options.initial)
        documents[m.id] = document
      end
      handler(document, event[3](), m)
    elseif handler then
      handler(docs, event[3](), m)
    end
  end
end
print(PASSES * #events / (os.clock() - began))
