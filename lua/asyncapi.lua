-- asyncapi.lua: lore asyncapi. The events of a hub that runs these scripts, as AsyncAPI 3.0: one channel for each context, the live tail
-- of its events over Server-Sent Events.
local core = require "lore.core"
local book = require "lore.book_flows"
local json_text = require "lore.json_text"
local schemas = require "lore.schemas"

local components = { schemas = {}, messages = {} }
for name, schema in pairs(schemas.basic) do components.schemas[name] = schema end

local function listeners(message)
  local names = {}
  for index, block in ipairs(book.blocks_of(message.takers)) do names[index] = block.id end
  return #names > 0 and "listened to by " .. table.concat(names, ", ") or nil
end

local function add_message(message)
  components.schemas[message.full] = schemas.data(message)
  local known, examples = schemas.examples(message), nil
  if known then
    examples = {}
    for index, data in ipairs(known) do
      examples[index] = { name = ("%s %d"):format(message.name, index), payload = { specversion = "1.0",
        id = "01a226c0-73cc-76e9-b47d-bc390d64f9cd:1:1", source = "/main/" .. message.context, type = message.name,
          subject = "aggregate/id",
        time = "2026-01-01T00:00:00.000Z", datacontenttype = "application/json", data = data, position = 1, version = 1,
        typeversion = message.version } }
    end
  end
  components.messages[message.full] = { name = message.name, title = message.name, contentType = "application/cloudevents+json",
    summary = message.comment ~= "" and message.comment:match "^[^\n]*" or nil, description = listeners(message),
    payload = schemas.event(message), examples = examples }
end

local channels, operations = {}, {}
for _, context in ipairs(book.contexts) do
  local messages, refs = {}, {}
  for _, message in ipairs(context.messages) do
    if message.is_event then
      add_message(message)
      messages[message.name] = { ["$ref"] = "#/components/messages/" .. message.full }
      refs[#refs + 1] = { ["$ref"] = ("#/channels/%s/messages/%s"):format(context.name, message.name) }
    end
  end
  if #refs > 0 then
    channels[context.name] = { address = "/v1/{tenant}/events", title = "events of " .. context.name, messages = messages,
      description = context.comment ~= "" and context.comment or nil,
      parameters = { tenant = { default = "main", description = "the tenant whose events these are" } },
      bindings = { http = { bindingVersion = "0.3.0" } } }
    operations["follow_" .. context.name] = { action = "send", channel = { ["$ref"] = "#/channels/" .. context.name },
      title = "the live tail of " .. context.name, messages = refs,
      summary = ("GET ?context=%s with Accept: text/event-stream; each data: line is an event"):format(context.name),
      bindings = { http = { method = "GET", bindingVersion = "0.3.0",
        query = { type = "object", properties = { context = { type = "string", const = context.name } } } } } }
  end
end

core.write("", json_text { asyncapi = "3.0.0", id = "urn:lore:hub",
  info = { title = book.title, version = "1", description = "The events of a lore hub with these scripts, as CloudEvents." },
  defaultContentType = "application/cloudevents+json",
  servers = { hub = { host = "127.0.0.1:7070", protocol = "http", description = "lore serve" } },
  channels = channels, operations = operations, components = components })
