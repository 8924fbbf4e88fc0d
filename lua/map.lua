-- map.lua: lore map. Prints the context map in the format that is asked for.
local core = require "lore.core"
local clean = require "lore.clean_text"
local book = require "lore.book_flows"
local graphs = require "lore.graph"

-- Flows as the machine reads them.
local function flow_json(flow)
  local list = {}
  for _, name in ipairs(book.sorted(flow.found)) do list[#list + 1] = name end
  return { kind = flow.kind, block = flow.block.id, trigger = flow.trigger and flow.trigger.full, message = flow.message
    and flow.message.full,
    target = flow.target and flow.target.id, found = list, count = flow.count }
end

local function as_json()
  local contexts, blocks, events, flows = {}, {}, {}, {}
  for index, context in ipairs(book.contexts) do contexts[index] = context.name end
  for index, block in ipairs(book.blocks) do
    blocks[index] = { id = block.id, kind = block.kind, context = block.context, name = block.name, path = clean(block.path),
      line = block.line }
  end
  for _, message in ipairs(book.messages) do
    if message.is_event then
      local publishers = {}
      for index, block in ipairs(book.publishers(message)) do publishers[index] = block.id end
      events[#events + 1] = { event = message.full, publishers = publishers, count = message.count }
    end
  end
  for index, flow in ipairs(book.flows) do flows[index] = flow_json(flow) end
  return core.json { contexts = contexts, blocks = blocks, events = events, flows = flows } .. "\n"
end

local format = book.options.format
if format == "json" then
  core.write("", as_json())
else
  local graph = book.options.overview and graphs.overview() or graphs.whole()
  if format == "dot" then
    core.write("", graphs.dot(graph))
  elseif format == "mermaid" then
    core.write("", graphs.mermaid(graph))
  else
    core.write("", graphs.svg(graph, nil, "The context map of " .. book.title, true))
  end
end
