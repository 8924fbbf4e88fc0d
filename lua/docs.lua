-- docs.lua: lore docs. Writes the site page by page; the same scripts and specs give the same bytes.
local core = require "lore.core"
local book = require "lore.book_flows"
local graphs = require "lore.graph"
local html = require "lore.html"
local parts = require "lore.docs_parts"
local behaviours = require "lore.docs_behaviours"
local contexts = require "lore.docs_context"
local sources = require "lore.docs_source"
local h = html.h

-- --- the first page ---

local function number_of(context, what)
  local count = 0
  for _, message in ipairs(context.messages) do
    if message.kind == what then count = count + 1 end
  end
  return count
end

local function first_sentence(text) return text:match "^(.-[.!?])%s" or text end

local function context_card(context)
  return h("section", { class = "card" }, h("h3", h("a", { href = ("contexts/%s.html"):format(context.name) }, context.name)),
    context.comment ~= "" and h("p", first_sentence(context.comment)),
    h("p", { class = "legend" }, parts.count(number_of(context, "command"), "command"), " · ",
      parts.count(number_of(context, "event"), "event"), " · ", #context.behaviours > 0
        and h("a", { href = ("behaviours/%s.html"):format(context.name) }, behaviours.tally(context.behaviours)) or "no specs"))
end

local function index()
  local commands, events = 0, 0
  for _, context in ipairs(book.contexts) do
    commands, events = commands + number_of(context, "command"), events + number_of(context, "event")
  end
  return parts.page("", book.title, "index.html", { h("h1", book.title),
    h("p", { class = "lead" }, parts.count(#book.contexts, "context"), ", ", parts.count(commands, "command"), ", ",
      parts.count(events, "event"), ", ", h("a", { href = "behaviours.html" }, behaviours.tally(book.behaviours)), "."),
    #book.contexts > 0 and parts.picture(graphs.overview(), "", "Who tells whom what: contexts and the events between them"),
    #book.contexts > 0 and h("p", { class = "legend" }, "Events that contexts hear of each other. ",
      h("a", { href = "map.html" }, "The whole map"), " shows what is in them."),
    h("h2", "Contexts"), h("div", { class = "grid" }, html.join(book.contexts, context_card, "")) })
end

local function map()
  return parts.page("", "Map", "map.html", { h("h1", "Map"),
    h("p", { class = "lead" }, "Everything that listens, decides and looks, and what goes between."),
    parts.picture(graphs.whole(), "", "The context map"), parts.legend(),
    h("p", { class = "legend" },
      "Who listens is declared in the scripts. What is sent and published was read in the handlers' source and in what their ",
      "specs show; what the source could do may never happen.") })
end

-- --- all messages ---

local FILTER = [[
var f=document.querySelector('.filter');f.hidden=false;f.addEventListener('input',function(){var w=f.value.toLowerCase();
document.querySelectorAll('tbody tr').forEach(function(r){r.hidden=r.textContent.toLowerCase().indexOf(w)<0})});
]]

local function message_row(message)
  local from = message.is_event and book.publishers(message) or book.blocks_of(message.senders)
  return h("tr", h("td", parts.message("", message), h("span", { class = "tag " .. message.kind }, message.kind)), h("td", message.context),
    h("td", { ["data-name"] = "from" }, #from > 0 and parts.blocks("", from, message.context) or not message.is_event and "outside"),
    h("td", { ["data-name"] = "to" }, parts.blocks("", book.blocks_of(message.takers), message.context)))
end

local function messages()
  local list = {}
  for _, context in ipairs(book.contexts) do table.move(context.messages, 1, #context.messages, #list + 1, list) end
  return parts.page("", "Messages", "messages.html", { h("h1", "Messages"),
    h("p", { class = "lead" }, "Who publishes and who listens, who sends and who decides."),
    h("input", { class = "filter", type = "search", placeholder = "filter", ["aria-label"] = "filter", hidden = true }),
    h("table", { class = "wide" }, h("thead", h("tr", h("th", "message"), h("th", "context"), h("th", "from"), h("th", "to"))),
      h("tbody", html.join(list, message_row, ""))), h("script", html.raw(FILTER)) })
end

core.write("index.html", index())
core.write("map.html", map())
core.write("messages.html", messages())
core.write("behaviours.html", behaviours.index())
core.write("source.html", sources.index())
core.write("style.css", require "lore.docs_style")
for _, context in ipairs(book.contexts) do
  core.write(("contexts/%s.html"):format(context.name), contexts.page(context))
  if #context.behaviours > 0 then core.write(("behaviours/%s.html"):format(context.name), behaviours.page(context)) end
end
for _, file in ipairs(book.files) do core.write("source/" .. file.path .. ".html", sources.page(file)) end
