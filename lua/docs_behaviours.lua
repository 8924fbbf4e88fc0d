-- docs_behaviours.lua: specs as sentences: given, when, then.
local book = require "lore.book_flows"
local graphs = require "lore.graph"
local html = require "lore.html"
local parts = require "lore.docs_parts"
local h = html.h

local behaviours = {}
local DEFAULT_AT = "2026-01-01T00:00:00.000Z" -- where a spec says no time

local STATUS = { failure = "does not hold", error = "is broken", pending = "is not written yet" }

function behaviours.is_good(behaviour) return behaviour.status == "success" end

function behaviours.url(behaviour) return ("behaviours/%s.html#%s"):format(behaviour.context, behaviour.anchor) end

function behaviours.title(behaviour)
  local title = table.concat(behaviour.title, " ")
  return title ~= "" and title or behaviour.file
end

local function v(text) return h("span", { class = "v" }, text) end

-- "BillCreated with customer acme"
local function told(message, scenario, tail)
  local known = message.context and book.message(message.context, message.name)
  local data = message.data and next(message.data) ~= nil and { " with ", parts.fields(message.data, known and known.fields) }
  local at = message.at and message.at ~= DEFAULT_AT and { " on ", v(parts.text_of(message.at)) }
  return h("p", known and parts.message_from("../", known, scenario.block and scenario.block.context) or message.name, tail, at, data)
end

local function told_all(list, scenario, tail)
  return html.join(list, function(message) return told(message, scenario, tail and tail(message)) end, "")
end

local function link(scenario)
  return h("a", { href = "../" .. graphs.link_of(scenario.block) }, scenario.block.name)
end

local function of_stream(message)
  return message.id and { " of ", message.aggregate ~= "" and message.aggregate .. " ", v(message.id) }
end

local function send_words(send, scenario)
  local to = { send.to, send.id and send.id ~= "" and { " ", v(send.id) } }
  if send.cancel then return h("p", "what was to be sent to ", to, " under the key ", v(send.key or ""), " is cancelled") end
  local later = send.after and { ", ", send.after, " later" } or send.due and { ", on ", parts.text_of(send.due) }
  local command = scenario.block and book.message(scenario.block.context, send.name)
  return h("p", command and parts.message("../", command) or send.name, " is sent to ", to, later,
    send.data and next(send.data) ~= nil and { " with ", parts.fields(send.data, command and command.fields) })
end

local function documents(list, none)
  if #list == 0 then return h("p", none) end
  return html.join(list, function(document)
    return h("p", document.view and { document.view:match "[^/]*$", ": " }, v(document.key), ": ", parts.fields(document.data))
  end, "")
end

local given = {}

function given.aggregate(scenario)
  if #scenario.given == 0 then return h("p", "nothing has happened to ", link(scenario), " ", v(scenario.id), " yet") end
  return { h("p", "what happened to ", link(scenario), " ", v(scenario.id), " is"), told_all(scenario.given, scenario) }
end

function given.projection(scenario)
  return told_all(scenario.given, scenario, of_stream)
end

local function given_world(scenario)
  local world = scenario.world or { views = {}, http = {} }
  local out = {}
  if #world.views > 0 then out[#out + 1] = documents(world.views) end
  for _, answer in ipairs(world.http) do
    out[#out + 1] = h("p", h("code", answer.request), " answers ",
      v(answer.error or answer.status and tostring(answer.status) or "as the spec computes"))
  end
  if world.at and world.at ~= DEFAULT_AT then out[#out + 1] = h("p", "it is ", v(parts.text_of(world.at))) end
  return out
end
given.service, given.task = given_world, given_world

local when = {}

function when.aggregate(scenario) return told_all(scenario.when, scenario) end
function when.service(scenario) return { h("p", link(scenario), " is asked for"), told_all(scenario.when, scenario) } end
function when.task(scenario) return h("p", link(scenario), " runs") end
function when.receptor(scenario)
  return { h("p", link(scenario), " hears"), told_all(scenario.given, scenario, of_stream) }
end

local function outcome(scenario)
  if scenario.rejects then return h("p", "it is refused: ", h("code", scenario.rejects)) end
  if scenario.fails then return h("p", "it fails: ", h("code", scenario.fails)) end
  if scenario.retries then return h("p", "it is tried again ", scenario.retries, " later") end
  if scenario.documents then
    return { h("p", link(scenario), " shows"), documents(scenario.documents, "nothing") }
  end
  if not scenario.expect or #scenario.expect == 0 then return h("p", "nothing happens") end
  return html.join(scenario.expect, function(item)
    if item.to then return send_words(item, scenario) end
    return told(item, scenario)
  end, "")
end

local function has_content(made) return made and html.text(made) ~= "" end

local function steps(scenario)
  local before = given[scenario.kind] and given[scenario.kind](scenario)
  local event = when[scenario.kind] and when[scenario.kind](scenario)
  return h("dl", { class = "steps" }, has_content(before) and { h("dt", "Given"), h("dd", before) },
    has_content(event) and { h("dt", "When"), h("dd", event) }, h("dt", "Then"), h("dd", outcome(scenario)))
end

local function one(behaviour)
  local good = behaviours.is_good(behaviour)
  local class = good and "behaviour" or behaviour.status == "pending" and "behaviour open" or "behaviour bad"
  local heading = table.concat(behaviour.title, " ", #behaviour.title > 1 and 2 or 1)
  local mark = not good and h("span", { class = "tag bad" }, STATUS[behaviour.status] or behaviour.status)
  return h("section", { class = class, id = behaviour.anchor }, h("h3", heading ~= "" and heading or behaviour.file, mark),
    not good and behaviour.message and h("pre", behaviour.message),
    html.join(behaviour.scenarios, steps, ""),
    h("p", { class = "place mono" }, "specs/" .. behaviour.file .. (behaviour.line and ":" .. behaviour.line or "")))
end

-- --- pages ---

function behaviours.list(root, list)
  return h("ul", { class = "toc" }, html.join(list, function(behaviour)
    local good = behaviours.is_good(behaviour)
    return h("li", h("span", { class = good and "mark" or "mark bad" }, good and "✓ " or "✗ "),
      h("a", { href = root .. behaviours.url(behaviour) }, behaviours.title(behaviour)))
  end, ""))
end

function behaviours.tally(list)
  local bad = 0
  for _, behaviour in ipairs(list) do
    if not behaviours.is_good(behaviour) then bad = bad + 1 end
  end
  if #list == 0 then return "no specs" end
  return parts.count(#list, "behaviour") .. ", " .. (bad == 0 and "all hold" or bad == 1 and "1 does not hold" or bad .. " do not hold")
end

-- The page of a context: its behaviours below what they describe, in the order of the specs.
function behaviours.page(context)
  local out, before = {}, nil
  for _, behaviour in ipairs(context.behaviours) do
    local subject = #behaviour.title > 1 and behaviour.title[1] or behaviour.file
    if subject ~= before then out[#out + 1] = h("h2", { class = "sentence" }, subject) end
    before = subject
    out[#out + 1] = one(behaviour)
  end
  return parts.page("../", "Behaviours of " .. context.name, "behaviours.html", {
    h("p", { class = "crumb" }, h("a", { href = "../contexts/" .. context.name .. ".html" }, context.name)),
    h("h1", "Behaviours of " .. context.name), h("p", { class = "lead" }, behaviours.tally(context.behaviours), "."), out })
end

function behaviours.index()
  local out, lost = {}, {}
  for _, context in ipairs(book.contexts) do
    if #context.behaviours > 0 then
      out[#out + 1] = { h("h2", h("a", { href = ("behaviours/%s.html"):format(context.name) }, context.name)), behaviours.list("",
        context.behaviours) }
    end
  end
  for _, behaviour in ipairs(book.behaviours) do
    if not book.context(behaviour.context) then lost[#lost + 1] = one(behaviour) end
  end
  return parts.page("", "Behaviours", "behaviours.html", { h("h1", "Behaviours"),
    h("p", { class = "lead" }, "What the specs say, and whether it holds: ", behaviours.tally(book.behaviours), "."),
    #lost > 0 and { h("h2", "Of no context"), lost }, out })
end

return behaviours
