-- openapi.lua: lore openapi. The routes of a hub that runs these scripts, as OpenAPI 3.1.
local core = require "lore.core"
local book = require "lore.book"
local json_text = require "lore.json_text"
local parts = require "lore.openapi_parts"
local schemas = require "lore.schemas"
local list, ref = json_text.list, schemas.ref
local use, answer, answers, json_of, object = parts.use, parts.answer, parts.answers, parts.json_of, parts.object
local TEXT, INTEGER = parts.TEXT, parts.INTEGER

local paths, components = {}, {}

local function some(text) return text ~= "" and text or nil end

local function dotted(block) return (block.full:gsub("/", ".")) end

-- --- schemas ---

for name, schema in pairs(schemas.basic) do components[name] = schema end
components.id = { type = "string", minLength = 1, maxLength = 200,
  description = "drawn by the client; the same command with the same id gets the same answer and is done once" }
components.problem = parts.problem
components.event = schemas.any_event()
components.event.description = "a CloudEvents 1.0 object"
components.answer = object({ "version", "position", "events" }, {
  version = { type = "integer", minimum = 0, description = "of the stream" },
  position = { type = "integer", minimum = 0, description = "of the stream's last event in the log" },
  events = { type = "array", items = ref "event" } })
for _, message in ipairs(book.messages) do
  local carried = message.is_event and "event" or "command"
  components[message.full] = schemas.data(message)
  components[message.full .. "." .. carried] = schemas[carried](message)
end

-- References to messages of a block by their names.
local function refs(block, names, carried)
  local out = list {}
  for index, name in ipairs(names) do out[index] = ref(("%s.%s.%s"):format(block.context, name, carried)) end
  return out
end

-- --- what the scripts declare ---

local function post(block, what)
  local commands = refs(block, block.commands, "command")
  local command = #commands > 1 and { oneOf = commands } or commands[1] or parts.OBJECT
  local first = block.commands[1] and book.message(block.context, block.commands[1])
  local known = first and schemas.examples(first)
  return { summary = "one command to " .. what .. ", or a list of them as one transaction", description = some(block.comment),
    operationId = "send." .. dotted(block), tags = { block.context },
    parameters = use("idempotency_key", "if_match", "correlation_id", "causation_id"),
    requestBody = { required = true, content = json_of({ anyOf = { command, { type = "array", items = command, minItems = 1 } } },
      known and { type = first.name, data = known[1] }) },
    responses = answers({ description = "it is on disk", content = json_of(ref "answer"),
      headers = { ETag = { schema = TEXT, description = "the version" } } }, 400, 404, 409, 413, 422, 429, 500, 503) }
end

local function get(block, what, summary, parameters, ...)
  return { summary = summary, operationId = what .. "." .. dotted(block), tags = { block.context }, parameters = parameters,
    responses = answers(...) }
end

local function add_aggregate(block)
  local path = ("/v1/{tenant}/%s/{id}"):format(block.full)
  local state = object({ "stream", "version", "position", "state" },
    { stream = TEXT, version = INTEGER, position = INTEGER, state = parts.OBJECT })
  local events = refs(block, block.events, "event")
  events[#events + 1] = ref "event"
  local page = object({ "events" }, { events = { type = "array", items = { anyOf = events } }, next = INTEGER })
  paths[path] = { parameters = use("tenant", "id"), post = post(block, "a " .. block.name),
    get = get(block, "state", "the state of a " .. block.name, use("version", "at"), answer("its state", state), 400, 404, 500, 503) }
  paths[path .. "/events"] = { parameters = use("tenant", "id"),
    get = get(block, "events", "the events of a " .. block.name, use("from_version", "limit"),
      answer("its events in order", page, nil, { ["application/x-ndjson"] = ref "event" }), 400, 404, 503) }
end

local function add_service(block)
  paths["/v1/{tenant}/" .. block.full] = { parameters = use "tenant", post = post(block, "the service " .. block.name) }
end

local function list_parameters(block)
  local out = use("limit", "cursor", "at", "wait", "timeout")
  if #block.indexes > 0 then
    local names = list(table.move(block.indexes, 1, #block.indexes, 1, {}))
    table.move(use("min", "max"), 1, 2, #out + 1, out)
    out[#out + 1] = parts.parameter("index", "query", { type = "string", enum = names }, "in order of this index")
  end
  return out
end

local function add_projection(block)
  local path, name = "/v1/{tenant}/views/" .. block.full, "view." .. dotted(block)
  local known = schemas.document(block)
  components[name] = { type = "object", description = some(block.comment), examples = known and { known.data } }
  local row = object({ "key", "document" }, { key = TEXT, document = ref(name) })
  local page = object({ "documents", "position" }, { documents = { type = "array", items = row }, cursor = TEXT, position = INTEGER })
  local one = object({ "key", "document", "position" }, { key = TEXT, document = ref(name), position = INTEGER,
    parked = { type = "object", description = "why it no longer changes" } })
  paths[path] = { parameters = use "tenant",
    get = get(block, "list", "documents of " .. block.name, list_parameters(block),
      answer("documents, in order of key or index", page,
        known and { documents = { { key = known.key, document = known.data } }, position = 1 }, { ["application/x-ndjson"] = row }),
      400, 404, 500, 503) }
  paths[path .. "/{key}"] = { parameters = use("tenant", "key"),
    get = get(block, "get", "one document of " .. block.name, use("at", "wait", "timeout"),
      answer("the document", one, known and { key = known.key, document = known.data, position = 1 }), 400, 404, 500, 503) }
end

local ADD = { aggregate = add_aggregate, service = add_service, projection = add_projection }
for _, block in ipairs(book.blocks) do
  if ADD[block.kind] then ADD[block.kind](block) end
end

-- --- all of it ---

local of_hub = require "lore.openapi_hub"(paths, components)
local tags = list {}
for index, context in ipairs(book.contexts) do tags[index] = { name = context.name, description = some(context.comment) } end
table.move(of_hub, 1, #of_hub, #tags + 1, tags)

core.write("", json_text { openapi = "3.1.0",
  info = { title = book.title, version = "1", license = { name = "of whoever wrote the scripts", identifier = "LicenseRef-scripts" },
    description = "The HTTP interface of a lore hub with these scripts. Names of tenants are in the path; main is the default." },
  servers = { { url = "http://127.0.0.1:7070" } }, security = list {}, tags = tags, paths = paths,
  components = { schemas = components, parameters = parts.parameters, responses = parts.problems } })
