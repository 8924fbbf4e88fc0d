-- docs_context.lua: the page of a context: its map, messages, building blocks and behaviours.
local core = require "lore.core"
local book = require "lore.book_flows"
local graphs = require "lore.graph"
local html = require "lore.html"
local parts = require "lore.docs_parts"
local behaviours = require "lore.docs_behaviours"
local h = html.h

local ROOT = "../"
local contexts = {}

-- --- messages ---

local function field_row(field)
  local notes = {}
  if field.optional then notes[#notes + 1] = "may be absent" end
  if field.pii then notes[#notes + 1] = "personal data" end
  return h("tr", h("td", h("code", field.name)), h("td", h("code", field.type)), h("td", table.concat(notes, ", ")))
end

local function fields_table(fields)
  if #fields == 0 then return h("p", { class = "legend" }, "no fields") end
  return h("table", { class = "fields" }, h("thead", h("tr", h("th", "field"), h("th", "type"), h("th", ""))),
    h("tbody", html.join(fields, field_row, "")))
end

-- "bill aggregate, on CloseBill": what a flow tells of its block.
local function flow_with_trigger(flow, here)
  return { parts.block(ROOT, flow.block, here),
    flow.trigger and { " on ", parts.message_from(ROOT, flow.trigger, here) } }
end

local function list_of(flows, make)
  return #flows > 0 and html.join(flows, make, h("br"))
end

local function event_facts(event, here)
  local publishers = book.publishers(event)
  return {
    { "published by", list_of(event.givers, function(flow) return flow_with_trigger(flow, here) end)
      or #publishers > 0 and parts.blocks(ROOT, publishers, here) },
    { "listened to by", #event.takers > 0 and parts.blocks(ROOT, book.blocks_of(event.takers), here) or "nobody" },
  }
end

local function command_facts(command, here)
  local leads = {}
  for _, taker in ipairs(command.takers) do
    for _, flow in ipairs(taker.block.gives) do
      if flow.trigger == command then leads[#leads + 1] = parts.message(ROOT, flow.message) end
    end
  end
  return {
    { "sent by", list_of(command.senders, function(flow) return flow_with_trigger(flow, here) end) or "people and programs outside" },
    { "taken by", #command.takers > 0 and parts.blocks(ROOT, book.blocks_of(command.takers), here) or "nobody" },
    { "may lead to", #leads > 0 and html.join(leads) },
  }
end

local function shown_in(message)
  local found = {}
  for _, behaviour in ipairs(book.behaviours) do
    local shows = false
    for _, scenario in ipairs(behaviour.scenarios) do
      for _, list in ipairs { scenario.given or {}, scenario.when or {}, scenario.expect or {} } do
        for _, item in ipairs(list) do
          local context = item.context or scenario.block and scenario.block.context
          shows = shows or item.name == message.name and context == message.context
        end
      end
    end
    if shows and book.context(behaviour.context) then found[#found + 1] = behaviour end
  end
  return found
end

local SHOWN_MAX = 6

local function shown_links(message)
  local found = shown_in(message)
  if #found == 0 then return end
  local shown = table.move(found, 1, math.min(#found, SHOWN_MAX), 1, {})
  return { html.join(shown, function(behaviour)
    return h("a", { href = ROOT .. behaviours.url(behaviour) }, behaviours.title(behaviour))
  end, " · "), #found > SHOWN_MAX and (" and %d more"):format(#found - SHOWN_MAX) }
end

local function upcasters(message)
  if not message.upcasters then return end
  return html.join(message.upcasters, function(upcaster)
    return { ("from %d to %d "):format(upcaster.version, upcaster.version + 1), parts.place(ROOT, upcaster.path, upcaster.line),
      upcaster.comment ~= "" and { h("br"), upcaster.comment } }
  end, h("br"))
end

local function message_card(message)
  local here = message.context
  local facts = message.is_event and event_facts(message, here) or command_facts(message, here)
  facts[#facts + 1] = { "older versions", upcasters(message) }
  facts[#facts + 1] = { "shown in", shown_links(message) }
  return h("section", { class = "card", id = message.name }, parts.place(ROOT, message.path, message.line),
    h("h3", message.name, h("span", { class = "tag " .. message.kind }, message.kind),
      message.version > 1 and h("span", { class = "tag" }, ("version %d"):format(message.version))),
    message.group.count == 1 and parts.prose(message.comment), parts.prose(message.remark),
    fields_table(message.fields), parts.facts(facts))
end

local function messages(context)
  local out, before = {}, nil
  for _, message in ipairs(context.messages) do
    if message.group ~= before and message.group.count > 1 and message.group.comment ~= "" then
      out[#out + 1] = h("div", { class = "group" }, parts.prose(message.group.comment))
    end
    before = message.group
    out[#out + 1] = message_card(message)
  end
  return #out > 0 and out or h("p", "It has no contracts: nobody can ask anything of it, and nothing happens in it.")
end

-- --- building blocks ---

local function outcome_of(block, trigger)
  local found = {}
  for _, flow in ipairs(block.gives) do
    if flow.trigger == trigger then found[#found + 1] = parts.message_from(ROOT, flow.message, block.context) end
  end
  for _, flow in ipairs(block.sends) do
    if flow.trigger == trigger then
      found[#found + 1] = { flow.message and parts.message_from(ROOT, flow.message, block.context) or "?", " to ",
        parts.block(ROOT, flow.target, block.context) }
    end
  end
  return html.join(found, nil, h("br"))
end

local function handlers_table(block, first, second)
  if #block.handlers == 0 then return end
  return h("table", { class = "wide handlers" }, h("thead", h("tr", h("th", first), h("th", second), h("th", ""), h("th", ""))),
    h("tbody", html.join(block.handlers, function(handler)
      return h("tr", h("td", parts.message_from(ROOT, handler.message, block.context)),
        h("td", { ["data-name"] = second }, second ~= "" and outcome_of(block, handler.message)), h("td", parts.prose(handler.comment)),
        h("td", parts.place(ROOT, handler.path, handler.line)))
    end, "")))
end

local function code_of(value) return value and next(value) ~= nil and h("code", core.json(value)) end

local function duration(ms)
  for _, unit in ipairs { { 86400000, "day" }, { 3600000, "hour" }, { 60000, "minute" }, { 1000, "second" } } do
    if ms % unit[1] == 0 then return ms == unit[1] and unit[2] or parts.count(ms // unit[1], unit[2]) end
  end
  return ms .. " ms"
end

local function schedule(task)
  if task.every_ms then return "every " .. duration(task.every_ms) end
  if task.cron then return { h("code", task.cron), " (", task.zone, ")" } end
  return task.at and parts.text_of(task.at) or "by hand only"
end

local function example_document(block)
  for _, behaviour in ipairs(book.behaviours) do
    for _, scenario in ipairs(behaviours.is_good(behaviour) and behaviour.scenarios or {}) do
      if scenario.block == block and scenario.documents and scenario.documents[1] then return scenario.documents[1] end
    end
  end
end

local KEYS = { id = "the aggregate's id", ["function"] = "computed from the event", free = "free: each handler names its documents" }

local body = {}

function body.aggregate(block)
  return handlers_table(block, "command", "may give"), {
    { "its state is made of", #block.events > 0 and html.join(block.events, function(name)
      return parts.message(ROOT, book.message(block.context, name))
    end) },
    { "begins with", code_of(block.initial) } }
end

function body.projection(block)
  local example = example_document(block)
  return handlers_table(block, "event", ""), {
    { "one document per", KEYS[block.key] },
    { "indexes", #block.indexes > 0 and html.join(block.indexes, function(name) return h("code", name) end) },
    { "a document begins with", code_of(block.initial) },
    { "for example", example and { h("code", example.key), " ", h("code", core.json(example.data)) } },
    { "looked into by", #block.read_by > 0 and parts.blocks(ROOT, book.blocks_of(block.read_by), block.context) },
    { "over HTTP", h("code", ("GET /v1/{tenant}/views/%s"):format(block.full)) } }
end

function body.receptor(block)
  return handlers_table(block, "event", "sends"),
    { { "begins", block.since == "start" and "with the first event of the log" or "with the events after its deploy" } }
end

function body.service(block)
  return handlers_table(block, "command", "may give"), {}
end

function body.task(block)
  return nil, {
    { "runs", schedule(block) },
    { "when it was missed", block.missed == "skip" and "it is left out" or "it runs once" },
    { "may give", outcome_of(block, nil)[1] and outcome_of(block, nil) },
    { "defined in", parts.place(ROOT, block.run.path, block.run.line) } }
end

function body.import(block)
  return nil, { { "may give", outcome_of(block, nil) } }
end

local function block_card(block)
  local handlers, facts = body[block.kind](block)
  local looks = {}
  for _, flow in ipairs(block.reads) do looks[#looks + 1] = flow.target end
  facts[#facts + 1] = { "looks into", #looks > 0 and parts.blocks(ROOT, looks, block.context) }
  return h("section", { class = "card", id = graphs.link_of(block):match "#(.*)$" }, parts.place(ROOT, block.path, block.line),
    h("h3", block.name, h("span", { class = "tag " .. block.kind }, block.kind)), parts.prose(block.comment), handlers, parts.facts(facts))
end

local TITLES = {
  aggregate = "Aggregates: what decides", projection = "Projections: what can be seen", receptor = "Receptors: what reacts to events",
  service = "Services: what needs the outside world", task = "Tasks: what happens at its time",
  import = "Imports: what comes from elsewhere",
}

local function blocks(context)
  local out = {}
  for _, kind in ipairs(book.kinds) do
    local cards = {}
    for _, block in ipairs(context.blocks) do
      if block.kind == kind then cards[#cards + 1] = block_card(block) end
    end
    if #cards > 0 then out[#out + 1] = { h("h2", { id = kind .. "s" }, TITLES[kind]), cards } end
  end
  return out
end

-- Files that declare nothing: modules with what they are for.
local function modules(context)
  local declares, out = {}, {}
  for _, block in ipairs(context.blocks) do declares[block.path] = true end
  for _, message in ipairs(context.messages) do declares[message.path] = true end
  for _, file in ipairs(context.files) do
    if not declares[file.path] then
      out[#out + 1] = h("section", { class = "card" }, parts.place(ROOT, file.path, 1), h("h3", file.path:match "^[^/]*/(.*)%.lua$"),
        parts.prose(file.comment))
    end
  end
  return #out > 0 and { h("h2", { id = "modules" }, "Modules: what they share"), out }
end

local function contents(context)
  local names = { commands = {}, events = {} }
  for _, message in ipairs(context.messages) do table.insert(names[message.kind .. "s"], parts.message(ROOT, message)) end
  local facts = {
    { "commands", #names.commands > 0 and html.join(names.commands) },
    { "events", #names.events > 0 and html.join(names.events) } }
  for _, kind in ipairs(book.kinds) do
    local list = {}
    for _, block in ipairs(context.blocks) do
      if block.kind == kind then list[#list + 1] = h("a", { href = "#" .. graphs.link_of(block):match "#(.*)$" }, block.name) end
    end
    facts[#facts + 1] = { kind .. "s", #list > 0 and html.join(list) }
  end
  facts[#facts + 1] = { "behaviours", #context.behaviours > 0
    and h("a", { href = ROOT .. ("behaviours/%s.html"):format(context.name) }, behaviours.tally(context.behaviours)) }
  return parts.facts(facts)
end

function contexts.page(context)
  return parts.page(ROOT, context.name, "", {
    h("h1", context.name), h("div", { class = "lead" }, parts.prose(context.comment)), contents(context),
    #context.blocks > 0 and { parts.picture(graphs.around(context.name), ROOT, "The map of " .. context.name), parts.legend() },
    h("h2", { id = "messages" }, "Messages: what can be asked, and what happened"), messages(context),
    blocks(context), modules(context),
    #context.behaviours > 0 and { h("h2", { id = "behaviours" }, "Behaviours"), behaviours.list(ROOT, context.behaviours) } })
end

return contexts
