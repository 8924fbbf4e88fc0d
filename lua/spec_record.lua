-- spec_record.lua: what specs say, written down for documentation: a line of JSON for each `it`, in the order in which they run:
--   { file, line, title = { "closing a bill", "counts the closing as a service" }, status, message, scenarios = { … } }
-- status is busted's: success, failure, error, pending. A file that does not run is a line of its own, without scenarios.
-- A scenario: { kind, name, id, given, when, world, and how it ends: expect (messages and sends), documents, rejects, fails or retries }.
local core = require "lore.core"
local clean = require "lore.clean_text"

local spec_record = {}

-- --- scenarios ---

-- tools: list (an empty one), duration_text, sorted_keys of spec.lua.
local function told_messages(tools, messages)
  local list = tools.list {}
  for index, message in ipairs(messages) do
    list[index] = { context = message.context, name = message.name, id = message.id, aggregate = message.aggregate,
      at = message.at_ms and core.time_text(message.at_ms), data = message.data ~= "" and core.decode(message.data) or nil,
      to = message.to, cancel = message.cancel, service = message.service, key = message.key ~= "" and message.key or nil,
      after = message.after_ms and tools.duration_text(message.after_ms), due = message.due_ms and core.time_text(message.due_ms) }
  end
  return list
end

local function told_documents(tools, documents)
  local list = tools.list {}
  for index, document in ipairs(documents) do
    list[index] = { view = document.view, key = document.key or document.name, data = core.decode(document.data) }
  end
  return list
end

local function told_world(tools, world)
  local requests = tools.list {}
  local answers = type(world.answers) == "table" and world.answers or {}
  for index, name in ipairs(tools.sorted_keys(answers)) do
    local answer = answers[name]
    requests[index] = { request = tostring(name), status = type(answer) == "table" and (answer.status or 200) or nil,
      error = type(answer) == "table" and answer.error and tostring(answer.error) or nil }
  end
  return { at = core.time_text(world.now_ms), views = told_documents(tools, world.views), http = requests }
end

-- --- the file ---

local function put(file, entry)
  local done, line = pcall(function() return core.to_json(core.encode(entry, "scenario")) end)
  if not done then -- data too deep to stand inside of something, or no plain data
    entry.scenarios, entry.message = nil, clean(tostring(line))
    line = core.to_json(core.encode(entry, "spec"))
  end
  file:write(line, "\n")
end

-- The words from the outermost describe to the element, and the file that it stands in.
local function place_of(busted, element)
  local title = {}
  while element and element.descriptor ~= "file" and element.descriptor ~= "suite" do
    table.insert(title, 1, clean(tostring(element.name or element.descriptor)))
    element = busted.context.parent(element)
  end
  return title, element and clean(tostring(element.name)) or ""
end

-- Stops the run if the file cannot be written.
function spec_record.open(path, busted, tools)
  local file, problem = io.open(path, "w")
  if not file then core.stop("permission", problem) end
  local record, scenarios, trouble = {}, {}, nil

  -- What is to come of a scenario, before it runs; how: expect, documents, rejects, fails or retries.
  function record.note(scenario, how, what)
    local entry = { kind = scenario.kind, name = scenario.name, id = scenario.id, given = told_messages(tools, scenario.events or {}),
      when = told_messages(tools, scenario.commands or {}), world = scenario.world and told_world(tools, scenario.world) }
    entry[how] = how == "expect" and told_messages(tools, what) or how == "documents" and told_documents(tools, what) or tostring(what)
    scenarios[#scenarios + 1] = entry
  end

  busted.subscribe({ "test", "start" }, function()
    scenarios, trouble = {}, nil
    return nil, true
  end)
  busted.subscribe({ "test", "end" }, function(element, _, status)
    local title, name = place_of(busted, element)
    put(file, { file = name, line = element.trace and element.trace.currentline or 0, title = title, status = status, message = trouble,
      scenarios = scenarios })
    return nil, true
  end)
  for _, kind in ipairs { "error", "failure" } do
    busted.subscribe({ kind }, function(element, _, message)
      trouble = clean(type(message) == "table" and tostring(message.message or message) or tostring(message))
      local title, name = place_of(busted, element)
      if element.descriptor ~= "it" then put(file, { file = name, title = title, status = kind, message = trouble }) end
      return nil, true
    end)
  end

  function record.close()
    if not file:close() then core.stop("disk", path .. ": the record cannot be written") end
  end

  return record
end

return spec_record
