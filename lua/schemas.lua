-- schemas.lua: JSON Schema of messages as they stand in JSON, for openapi.lua and asyncapi.lua.
local book = require "lore.book"
local list = require "lore.json_text".list
local schemas = {}

-- Names of components: "billing.CreateBill" is the data of a message, with .command or .event behind it what carries it.
function schemas.ref(name) return { ["$ref"] = "#/components/schemas/" .. name } end

local SIMPLE = {
  string = function() return { type = "string" } end,
  integer = function() return { type = "integer", format = "int64" } end,
  number = function() return { type = "number" } end,
  boolean = function() return { type = "boolean" } end,
  time = function() return schemas.ref "time" end,
  decimal = function() return schemas.ref "decimal" end,
  any = function() return {} end,
}

local record

local function of(form)
  if form.kind == "list" then return { type = "array", items = of(form.item) } end
  if form.kind == "map" then return { type = "object", additionalProperties = of(form.item) } end
  if form.kind == "record" then return record(form.fields) end
  return SIMPLE[form.kind]()
end

function record(fields)
  local properties, required = {}, list {}
  for _, field in ipairs(fields) do
    properties[field.name] = of(field.form)
    if field.pii then properties[field.name]["x-pii"] = true end
    if not field.optional then required[#required + 1] = field.name end
  end
  return { type = "object", properties = properties, required = required, additionalProperties = false }
end

-- What specs show of a message, each once, at most three.
local examples = {}

local function note(message, data)
  local known = message and data and (examples[message.full] or { seen = {} })
  if not known then return end
  examples[message.full] = known
  local key = require "lore.core".json(data)
  if #known < 3 and not known.seen[key] then
    known.seen[key] = true
    known[#known + 1] = data
  end
end

for _, behaviour in ipairs(book.behaviours) do
  for _, scenario in ipairs(behaviour.status == "success" and behaviour.scenarios or {}) do
    for _, items in ipairs { scenario.given, scenario.when, scenario.expect or {} } do
      for _, item in ipairs(items) do
        local context = item.context or scenario.block and scenario.block.context
        note(context and book.message(context, item.name), item.data)
      end
    end
  end
end

function schemas.examples(message)
  local known = examples[message.full]
  if not known then return end
  return table.move(known, 1, #known, 1, {})
end

local documents = {}

for _, behaviour in ipairs(book.behaviours) do
  for _, scenario in ipairs(behaviour.status == "success" and behaviour.scenarios or {}) do
    for _, document in ipairs(scenario.block and scenario.documents or {}) do
      documents[scenario.block.id] = documents[scenario.block.id] or document
    end
  end
end

-- A document of a projection that a spec shows: { key, data }, or nil.
function schemas.document(block) return documents[block.id] end

-- The data of a message.
function schemas.data(message)
  local schema = record(message.fields)
  schema.title = message.name
  schema.description = message.comment ~= "" and message.comment or nil
  schema.examples = schemas.examples(message)
  return schema
end

schemas.basic = {
  time = { type = "string", format = "date-time", description = "ISO 8601, kept in UTC with milliseconds",
    examples = { "2026-02-01T08:26:00.000Z" } },
  decimal = { type = list { "string", "integer" }, pattern = "^-?[0-9]+(\\.[0-9]+)?$",
    description = "exact, as text; an integer is taken too, and comes back as text", examples = { "1.20" } },
}

local ENVELOPE = {
  specversion = { const = "1.0" },
  id = { type = "string", description = "<log>:<epoch>:<position>" },
  source = { type = "string", description = "/<tenant>/<context>" },
  type = { type = "string" },
  subject = { type = "string", description = "<aggregate>/<id>" },
  time = { type = "string", format = "date-time", description = "when it happened" },
  datacontenttype = { const = "application/json" },
  data = {},
  position = { type = "integer", minimum = 1, description = "in the log" },
  version = { type = "integer", minimum = 1, description = "of the stream" },
  typeversion = { type = "integer", minimum = 1, description = "of the event's contract" },
  recordedtime = { type = "string", format = "date-time", description = "the hub's clock" },
  correlationid = { type = "string" }, causationid = { type = "string" }, commandid = { type = "string" },
  actor = { type = "string" },
  deploy = { type = "integer", minimum = 1, description = "the deploy whose code recorded it" },
}
local REQUIRED = { "specversion", "id", "source", "type", "subject", "time", "datacontenttype", "data", "position", "version",
  "typeversion" }

local function cloud_event(change)
  local properties = {}
  for name, schema in pairs(ENVELOPE) do properties[name] = change[name] or schema end
  return { type = "object", properties = properties, required = list(table.move(REQUIRED, 1, #REQUIRED, 1, {})) }
end

-- Any event, also those of the hub itself (their types begin with $).
function schemas.any_event() return cloud_event {} end

-- A stored event of an older version is carried as it is, so its data is described for the current version only.
function schemas.event(message)
  local schema = cloud_event { type = { const = message.name }, source = { type = "string", pattern = "/" .. message.context .. "$" } }
  if message.version == 1 then
    schema.properties.data = schemas.ref(message.full)
  else
    schema["if"] = { properties = { typeversion = { const = message.version } } }
    schema["then"] = { properties = { data = schemas.ref(message.full) } }
  end
  schema.title = message.name
  return schema
end

-- A command on its way.
function schemas.command(message)
  local known = schemas.examples(message)
  return { type = "object", title = message.name, required = list { "type", "data" }, additionalProperties = false,
    properties = { type = { const = message.name }, data = schemas.ref(message.full), id = schemas.ref "id" },
    examples = known and { { type = message.name, data = known[1] } } }
end

return schemas
