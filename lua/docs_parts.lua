-- docs_parts.lua: what the pages of the site share: their frame, links to messages, blocks and places, values in words.
local book = require "lore.book_flows"
local graphs = require "lore.graph"
local html = require "lore.html"
local h = html.h

local parts = {}

-- root: what leads from the page to the folder of the site: "" or "../".
function parts.page(root, title, current, body)
  local function entry(path, text)
    return h("a", { href = root .. path, ["aria-current"] = current == path and "page" }, text)
  end
  return "<!doctype html>\n" .. html.text(h("html", { lang = "en" },
    h("head", h("meta", { charset = "utf-8" }), h("meta", { name = "viewport", content = "width=device-width, initial-scale=1" }),
      h("title", title == book.title and title or title .. " – " .. book.title), h("link", { rel = "stylesheet", href = root
        .. "style.css" })),
    h("body",
      h("header", h("nav", h("a", { class = "home", href = root .. "index.html" }, book.title), entry("map.html", "Map"),
        entry("messages.html", "Messages"), entry("behaviours.html", "Behaviours"), entry("source.html", "Source"))),
      h("main", body),
      h("footer", "Written by lore docs from contracts, scripts, their comments and specs.")))) .. "\n"
end

function parts.message(root, message, text)
  return h("a", { href = ("%scontexts/%s.html#%s"):format(root, message.context, message.name) }, text or message.name)
end

-- With its context where that is another one.
function parts.message_from(root, message, here)
  return parts.message(root, message, message.context == here and message.name or message.full)
end

function parts.block(root, block, here)
  local name = block.context == here and block.name or block.full
  return { h("a", { href = root .. graphs.link_of(block) }, name), h("span", { class = "tag " .. block.kind }, block.kind) }
end

function parts.blocks(root, list, here)
  return html.join(list, function(block) return parts.block(root, block, here) end)
end

function parts.source_url(path) return "source/" .. html.url(path) .. ".html" end

function parts.place(root, path, line)
  if not book.file(path) then return end
  return h("a", { class = "place mono", href = ("%s%s#L%d"):format(root, parts.source_url(path), line) }, ("%s:%d"):format(path, line))
end

function parts.prose(text) return text and text ~= "" and html.prose(text) end

-- A list of { name, value }; entries without a value are left out.
function parts.facts(list)
  local out = {}
  for _, fact in ipairs(list) do
    if fact[2] then out[#out + 1] = { h("dt", fact[1]), h("dd", fact[2]) } end
  end
  return #out > 0 and h("dl", { class = "facts" }, out)
end

function parts.count(number, one, many) return ("%d %s"):format(number, number == 1 and one or many or one .. "s") end

-- --- values ---

-- A time of the day's beginning is a day.
local function text_of(value)
  local day, time = value:match "^(%d%d%d%d%-%d%d%-%d%d)T(%d%d:%d%d:%d%d%.%d%d%d)Z$"
  if not day then return value ~= "" and value or "“”" end
  return time == "00:00:00.000" and day or day .. " " .. time:gsub("%.000$", ""):gsub(":00$", "") .. " UTC"
end
parts.text_of = text_of

local function words(name) return (tostring(name):gsub("_", " ")) end

-- A value in words: "acme", "hosting, 2 × …" as (text hosting, quantity 2).
function parts.value(value)
  if type(value) ~= "table" then
    return h("span", { class = "v" }, type(value) == "string" and text_of(value) or tostring(value))
  end
  if next(value) == nil then return "nothing" end
  if #value > 0 then return { "[", html.join(value, parts.value, "; "), "]" } end
  return { "(", parts.fields(value), ")" }
end

-- "customer acme, start date 2026-01-01"; order: names that come first.
function parts.fields(data, order)
  local names, seen = {}, {}
  for _, field in ipairs(order or {}) do
    if data[field.name] ~= nil then
      names[#names + 1] = field.name
      seen[field.name] = true
    end
  end
  for _, name in ipairs(book.sorted(data)) do
    if not seen[name] then names[#names + 1] = name end
  end
  return html.join(names, function(name) return { words(name), " ", parts.value(data[name]) } end)
end

-- --- pictures ---

local NARROW_PX = 600 -- what a phone may be wide; below, a picture says that there is more of it beside

function parts.picture(graph, root, label)
  local svg, least_px = graphs.svg(graph, root, label)
  local wide = least_px > NARROW_PX
  return h("div", { class = wide and "picture wide" or "picture" }, wide and h("p", { class = "hint" }, "wider than the window: scroll →"),
    html.raw(svg))
end

function parts.legend()
  local kinds = {}
  for _, kind in ipairs(book.kinds) do kinds[#kinds + 1] = h("span", { class = "tag " .. kind }, kind) end
  return h("p", { class = "legend" }, kinds, " ", h("span", { class = "e" }, "- - events, to who listens"), " · ",
    h("span", { class = "c" }, "— commands, to who decides"), " · ··· a view that is looked into")
end

return parts
