-- book_counts.lua: how often, from the log of a hub (cli/flows.h): counts of commands sent and events given. book_flows.lua calls it.
--
-- A number stands only where the log tells it: zero is a number, what cannot be told is nil. What a row of an import decided has an id
-- that is derived and no actor of the scripts; which script read the row is not in the log.
local book = require "lore.book"
local counts = {}

local SENDERS = { "receptor", "task", "service" }

local function block_named(full, kinds)
  for _, kind in ipairs(kinds) do
    local block = book.block(kind, full)
    if block then return block end
  end
end

local function message_named(full)
  local context, name = full:match "^(.-)%.(.*)$"
  return context and book.message(context, name)
end

local function target_in_log(line) return block_named(line.target, { "aggregate", "service", "task" }) end

-- The flows that may have led to an event of target; of sender, or of any import.
local function flows_into(target, event, sender, cause, gives)
  local found = {}
  for _, flow in ipairs(book.flows) do
    local from = flow.block == sender or not sender and flow.block.kind == "import"
    if flow.kind == "sends" and from and flow.target == target and (not cause or not flow.trigger or flow.trigger == cause)
      and flow.message and gives(target, flow.message, event) then
      found[#found + 1] = flow
    end
  end
  return found
end

-- What one line of cli/flows.h tells of who sent. The log knows that a row was imported, not by which script: of several none is counted.
-- add and gives: of book_flows.lua, to add a flow and to find whether a block gives an event on a message.
function counts.sent(line, add, gives)
  local event, target = message_named(line.event), target_in_log(line)
  local sender, cause = block_named(line.actor, SENDERS), line.cause and message_named(line.cause)
  if not event or not target or sender == target or not (sender or line.derived) then return end
  local found = flows_into(target, event, sender, sender and cause, gives)
  local matched = found[1]
  for _, flow in ipairs(found) do
    if flow.block ~= matched.block then matched.unknown = true end
    flow.unknown = flow.unknown or flow.block ~= matched.block or flow.message ~= matched.message
  end
  if not matched and sender then matched = add("log", "sends", sender, sender.kind == "receptor" and cause or nil, nil, target) end
  if not matched or matched.unknown and not sender then return end
  matched.found.log = true
  matched.count = (matched.count or 0) + line.commands
end

-- … and of whose events they are: the stream's own block, or the import that records them.
local function count_given(line)
  local event, target, imports = message_named(line.event), target_in_log(line), {}
  if not event then return end
  event.count = event.count + line.events
  local publishers, own, is_import = book.publishers(event), false, line.derived and not block_named(line.actor, SENDERS)
  for _, block in ipairs(publishers) do
    own = own or block == target
    if block.kind == "import" then imports[#imports + 1] = block end
  end
  for _, block in ipairs(is_import and imports or {}) do
    if own or #imports > 1 then block.given[event.full] = false end -- a row's command or a row's fact, of which script: not told
  end
  local giver = own and target or is_import and #imports == 1 and imports[1]
  if giver and giver.given[event.full] ~= false then giver.given[event.full] = (giver.given[event.full] or 0) + line.events end
  for _, block in ipairs(giver and {} or publishers) do block.given[event.full] = block.given[event.full] or false end
end

-- How often the log has the event of the block; nil: it cannot be told, or no log is asked.
function book.times_given(block, event)
  if not book.options.counts then return nil end
  local times = block.given[event.full]
  if times == nil then return 0 end
  return times or nil
end

-- All that the log tells of events, once the flows are known.
function counts.given()
  for _, block in ipairs(book.blocks) do block.given = {} end
  for _, message in ipairs(book.messages) do message.count = message.is_event and 0 or nil end
  for _, line in ipairs(book.options.counts) do count_given(line) end
  for _, flow in ipairs(book.flows) do
    if flow.kind == "sends" and not flow.unknown then flow.count = flow.count or 0 end
  end
end

return counts
