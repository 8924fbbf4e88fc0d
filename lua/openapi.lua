-- openapi.lua: lore openapi. The routes of a hub that runs these scripts, as OpenAPI 3.1.
local core = require "lore.core"
local book = require "lore.book"
local json_text = require "lore.json_text"
local schemas = require "lore.schemas"
local list, ref = json_text.list, schemas.ref

local paths = {}
local components = { id = { type = "string", minLength = 1, maxLength = 200,
  description = "drawn by the client; the same command with the same id gets the same answer and is done once" } }

for name, schema in pairs(schemas.basic) do components[name] = schema end

-- --- parameters and answers ---

local function parameter(name, where, schema, description)
  return { name = name, ["in"] = where, required = where == "path" or nil, schema = schema, description = description }
end

local TEXT, NUMBER = { type = "string" }, { type = "integer", minimum = 1 }

local parameters = {
  tenant = parameter("tenant", "path", { type = "string", pattern = "^[a-z][a-z0-9_-]{0,62}$", default = "main" },
    "the default tenant is main"),
  id = parameter("id", "path", { type = "string", minLength = 1, maxLength = 200 }, "of the aggregate; percent-encoded"),
  key = parameter("key", "path", TEXT, "of the document; a / as %2F"),
  correlation = parameter("correlation", "path", TEXT, "a correlation, command or event id"),
  number = parameter("number", "path", NUMBER, "of the deploy"),
  name = parameter("name", "path", TEXT, "context/name with / as it is, or the name where it is unique"),
  at = parameter("at", "query", TEXT, "a time, a position or deploy:N: as it was then"),
  version = parameter("version", "query", NUMBER, "as it was at this version"),
  from = parameter("from", "query", TEXT, "begin at this position, time or deploy:N"),
  ["until"] = parameter("until", "query", TEXT, "end with this position, time, or before deploy:N"),
  from_version = parameter("from", "query", NUMBER, "begin at this version"),
  limit = parameter("limit", "query", NUMBER, "100 by default; none for NDJSON"),
  type = parameter("type", "query", TEXT, "only events of this type"),
  context = parameter("context", "query", TEXT, "only events of this context"),
  subject = parameter("subject", "query", TEXT, "only events of this aggregate: aggregate/id"),
  correlation_is = parameter("correlation", "query", TEXT, "only what belongs to this correlation"),
  deploy = parameter("deploy", "query", NUMBER, "only events of this deploy"),
  last_event_id = parameter("Last-Event-ID", "header", TEXT, "a tail goes on behind this event"),
  wait = parameter("wait", "query", NUMBER, "wait until the view has seen this position"),
  timeout = parameter("timeout", "query", TEXT, "of the wait, in seconds or as 5s"),
  cursor = parameter("cursor", "query", TEXT, "where the page before ended"),
  min = parameter("min", "query", TEXT, "of the index, inclusive"),
  max = parameter("max", "query", TEXT, "of the index, inclusive"),
  idempotency_key = parameter("Idempotency-Key", "header", ref "id", "the id of the command, or of the whole list"),
  if_match = parameter("If-Match", "header", { type = "string", pattern = '^"[0-9]+"$' },
    'the version that the sender has seen, "0" for a new one; 409 if events in between exclude it'),
  correlation_id = parameter("Correlation-Id", "header", TEXT),
  causation_id = parameter("Causation-Id", "header", TEXT),
  below = parameter("below", "query", NUMBER, "only deploys with smaller numbers"),
}

local function use(...)
  local out = {}
  for index, name in ipairs { ... } do out[index] = { ["$ref"] = "#/components/parameters/" .. name } end
  return out
end

local function json_of(schema, example)
  return { ["application/json"] = { schema = schema, example = example } }
end

local function answer(description, schema, example, more)
  local content = json_of(schema, example)
  for kind, each in pairs(more or {}) do content[kind] = { schema = each } end
  return { description = description, content = content }
end

local PROBLEMS = {
  [400] = "malformed: it cannot be read. contract: a message does not fit its contract (with the field's path). "
    .. "unknown_command: nobody takes it",
  [404] = "not_found: there is no such tenant, context, aggregate, stream, view or document",
  [405] = "method_not_allowed",
  [409] = "conflict: events that the sender has not seen exclude it (with those events). refused: the gate refuses the deploy",
  [410] = "gone: the log was rolled back and no longer has that event",
  [413] = "too_large",
  [422] = "rejected: the domain refused the command (with its reason). id_reused: the id was used for another command. "
    .. "scripts: they do not load",
  [429] = "busy: too many commands are waiting; try again",
  [500] = "script: a script failed (with file and line). corrupt, internal",
  [503] = "unavailable, lagging, rebuilding, disk: try again",
}
local problem_answers = {}
for status, description in pairs(PROBLEMS) do
  problem_answers["problem_" .. status] = { description = description,
    content = { ["application/problem+json"] = { schema = ref "problem" } } }
end

local function answers(done, ...)
  local out = { ["200"] = done }
  for _, status in ipairs { ... } do out[tostring(status)] = { ["$ref"] = "#/components/responses/problem_" .. status } end
  return out
end

components.problem = { type = "object", description = "RFC 9457", required = list { "type", "title", "status", "detail", "code" },
  properties = {
  type = { type = "string", examples = { "urn:lore:problem:rejected" } }, title = TEXT, status = { type = "integer" }, detail = TEXT,
  code = { type = "string", enum = { "malformed", "contract", "unknown_command", "not_found", "conflict", "too_large", "rejected",
    "id_reused", "busy",
    "unavailable", "rebuilding", "gone", "lagging", "script", "disk", "corrupt", "in_use", "permission", "refused", "scripts",
      "method_not_allowed",
    "internal", "usage", "forbidden", "unsupported_media_type", "headers_too_large", "uri_too_long", "expectation_failed", "timeout" } },
  reason = { type = "string", description = "of a rejection: the domain's own code" },
  version = { type = "integer", description = "of a conflict: where the stream is" },
  events = { type = "array", items = ref "event", description = "of a conflict: the events in between" } } }

-- --- what the scripts declare ---

components.event = schemas.any_event()
components.event.description = "a CloudEvents 1.0 object"
for _, message in ipairs(book.messages) do
  components[message.full] = schemas.data(message)
  local carried = message.is_event and "event" or "command"
  components[message.full .. "." .. carried] = schemas[carried](message)
end

local function one_of(names)
  if #names == 1 then return ref(names[1]) end
  local out = list {}
  for index, name in ipairs(names) do out[index] = ref(name) end
  return { oneOf = out }
end

components.answer = { type = "object", required = list { "version", "position", "events" }, properties = {
  version = { type = "integer", minimum = 0, description = "of the stream" },
  position = { type = "integer", minimum = 0, description = "of the stream's last event in the log" },
  events = { type = "array", items = ref "event" } } }

local function commands_of(block)
  local names = {}
  for _, name in ipairs(block.commands) do names[#names + 1] = ("%s.%s.command"):format(block.context, name) end
  return names
end

local function post(block, what)
  local names = commands_of(block)
  local command = #names > 0 and one_of(names) or { type = "object" }
  local first = block.commands[1] and book.message(block.context, block.commands[1])
  local known = first and schemas.examples(first)
  return { summary = "one command to " .. what .. ", or a list of them as one transaction", operationId = "send."
    .. block.full:gsub("/", "."),
    tags = { block.context }, description = block.comment ~= "" and block.comment or nil,
    parameters = use("idempotency_key", "if_match", "correlation_id", "causation_id"),
    requestBody = { required = true, content = json_of({ anyOf = { command, { type = "array", items = command, minItems = 1 } } },
      known and { type = first.name, data = known[1] }) },
    responses = answers({ description = "it is on disk", headers = { ETag = { schema = TEXT, description = "the version" } },
      content = json_of(ref "answer") }, 400, 404, 409, 413, 422, 429, 500, 503) }
end

local function add_aggregate(block)
  local path = ("/v1/{tenant}/%s/{id}"):format(block.full)
  paths[path] = { parameters = use("tenant", "id"), post = post(block, ("a %s"):format(block.name)),
    get = { summary = ("the state of a %s"):format(block.name), operationId = "state." .. block.full:gsub("/", "."),
      tags = { block.context },
      parameters = use("version", "at"),
      responses = answers(answer("its state", { type = "object", required = list { "stream", "version", "position", "state" },
        properties = {
        stream = TEXT, version = { type = "integer" }, position = { type = "integer" }, state = { type = "object" } } }), 400, 404,
          500, 503) } }
  local events = list {}
  for _, name in ipairs(block.events) do events[#events + 1] = ref(("%s.%s.event"):format(block.context, name)) end
  events[#events + 1] = ref "event"
  paths[path .. "/events"] = { parameters = use("tenant", "id"),
    get = { summary = ("the events of a %s"):format(block.name), operationId = "events." .. block.full:gsub("/", "."),
      tags = { block.context },
      parameters = use("from_version", "limit"),
      responses = answers(answer("its events in order", { type = "object", required = list { "events" }, properties = {
        events = { type = "array", items = { anyOf = events } }, next = { type = "integer" } } }, nil,
          { ["application/x-ndjson"] = ref "event" }), 400, 404, 503) } }
end

local function add_service(block)
  paths["/v1/{tenant}/" .. block.full] = { parameters = use "tenant", post = post(block, "the service " .. block.name) }
end

local function document_schema(block)
  local known = schemas.document(block)
  return { type = "object", description = block.comment ~= "" and block.comment or nil, examples = known and { known.data } }
end

local function add_projection(block)
  local name = "view." .. block.full:gsub("/", ".")
  components[name] = document_schema(block)
  local known = schemas.document(block)
  local row = { type = "object", required = list { "key", "document" }, properties = { key = TEXT, document = ref(name) } }
  local path = "/v1/{tenant}/views/" .. block.full
  local index
  if #block.indexes > 0 then
    index = parameter("index", "query", { type = "string", enum = list(table.move(block.indexes, 1, #block.indexes, 1, {})) },
      "in order of this index")
  end
  local list_parameters = use("limit", "cursor", "at", "wait", "timeout")
  if index then
    table.move(use("min", "max"), 1, 2, #list_parameters + 1, list_parameters)
    list_parameters[#list_parameters + 1] = index
  end
  paths[path] = { parameters = use "tenant",
    get = { summary = "documents of " .. block.name, operationId = "list." .. block.full:gsub("/", "."), tags = { block.context },
      parameters = list_parameters,
      responses = answers(answer("documents, in order of key or index", { type = "object", required = list { "documents", "position" },
        properties = {
        documents = { type = "array", items = row }, cursor = TEXT, position = { type = "integer" } } },
        known and { documents = { { key = known.key, document = known.data } }, position = 1 }, { ["application/x-ndjson"] = row }),
          400, 404, 500, 503) } }
  paths[path .. "/{key}"] = { parameters = use("tenant", "key"),
    get = { summary = "one document of " .. block.name, operationId = "get." .. block.full:gsub("/", "."), tags = { block.context },
      parameters = use("at", "wait", "timeout"),
      responses = answers(answer("the document", { type = "object", required = list { "key", "document", "position" }, properties = {
        key = TEXT, document = ref(name), position = { type = "integer" }, parked = { type = "object",
          description = "why it no longer changes" } } },
        known and { key = known.key, document = known.data, position = 1 }), 400, 404, 500, 503) } }
end

local ADD = { aggregate = add_aggregate, service = add_service, projection = add_projection }
for _, block in ipairs(book.blocks) do
  if ADD[block.kind] then ADD[block.kind](block) end
end

-- --- what every hub has ---

components.events = { type = "object", required = list { "events" }, properties = {
  events = { type = "array", items = ref "event" }, next = { type = "integer", description = "where the next page begins" } } }
components.line = { type = "object", required = list { "stream", "type", "data" }, properties = {
  stream = { type = "string", description = "context/aggregate/id, or context/service" }, type = TEXT, data = { type = "object" },
    id = ref "id",
  version = { type = "integer" } } }
components.deploy = { type = "object", required = list { "number", "time", "state" }, properties = {
  number = NUMBER, time = TEXT, actor = TEXT, note = TEXT, folder = TEXT, state = TEXT, forced = { type = "boolean" },
  digest = TEXT } }
components.order = { type = "object", required = list { "scripts" }, properties = {
  scripts = { type = "object", additionalProperties = TEXT, description = "text of each script by its path in the folder" }, note = TEXT,
  plan = { type = "boolean", description = "only say what would change" }, force = { type = "boolean" } } }

local function fixed(path, method, tag, summary, given)
  paths[path] = paths[path] or { parameters = given.path }
  paths[path][method] = { summary = summary, operationId = given.id, tags = { tag }, parameters = given.parameters,
    requestBody = given.body,
    responses = given.responses }
end

local OBJECT = { type = "object" }

fixed("/v1/{tenant}/commands", "post", "hub", "very many commands, one a line", { id = "bulk", path = use "tenant",
  body = { required = true, content = { ["application/x-ndjson"] = { schema = ref "line" } } },
  responses = answers({ description = "one answer a line, in the same order: as of a single command, or a problem",
    content = { ["application/x-ndjson"] = { schema = { anyOf = { ref "answer", ref "problem" } } } } }, 400, 404, 413, 429, 503) })
fixed("/v1/{tenant}/events", "get", "hub", "the log, or its live tail", { id = "events", path = use "tenant",
  parameters = use("from", "until", "limit", "type", "context", "subject", "correlation_is", "deploy", "last_event_id"),
  responses = answers(answer("events in order", ref "events", nil, { ["application/x-ndjson"] = ref "event",
    ["text/event-stream"] = { type = "string", description = "data: lines are events; it does not end" } }), 400, 404, 410, 503) })
fixed("/v1/{tenant}/trace/{correlation}", "get", "hub", "the tree of causes", { id = "trace", path = use("tenant", "correlation"),
  responses = answers(answer("commands and events in order", { type = "object", required = list { "correlation", "trace" }, properties = {
    correlation = TEXT, trace = { type = "array", items = { type = "object", required = list { "kind", "depth", "id", "type",
      "stream" }, properties = {
      kind = { enum = { "command", "event" } }, depth = { type = "integer" }, id = TEXT, parent = TEXT, type = TEXT,
        stream = TEXT } } } } }), 400, 404, 503) })
fixed("/v1/{tenant}/blame", "get", "hub", "which deploy, file and command made it", { id = "blame", path = use "tenant",
  parameters = { parameter("event", "query", TEXT, "an event's id"), parameter("position", "query", NUMBER, "of an event"),
    parameter("stream", "query", TEXT, "context/aggregate/id"), parameter("version", "query", NUMBER, "of the stream"),
    parameter("view", "query", TEXT, "context/name"), parameter("key", "query", TEXT, "of its document"),
    parameter("last", "query", NUMBER, "at most so many events") },
  responses = answers(answer("who made it", { type = "object", properties = { blame = { type = "array", items = OBJECT } } }), 400,
    404, 503) })
fixed("/v1/status", "get", "operations", "what runs, and where it stands", { id = "status",
  responses = answers(answer("a list", { type = "object", required = list { "status" }, properties = { status = { type = "array",
    items = { type = "object", required = list { "kind" }, properties = { kind = TEXT } } } } }, nil,
      { ["application/x-ndjson"] = OBJECT }), 400, 503) })
for _, each in ipairs { { "rebuild", "build a projection anew", "rebuilding" }, { "retry", "a receptor that waits tries again now",
  "retrying" } } do
  fixed(("/v1/status/%s/{name}"):format(each[1]), "post", "operations", each[2], { id = each[1], path = use "name",
    responses = answers(answer("it begins", { type = "object", properties = { [each[3]] = TEXT } }), 400, 404, 409, 503) })
end
fixed("/v1/status/run/{name}", "post", "operations", "a task runs now", { id = "run", path = use "name",
  responses = answers(answer("how it ended", ref "answer"), 400, 404, 409, 500, 503) })
fixed("/v1/deploys", "get", "operations", "the deploys, newest first", { id = "deploys", parameters = use("below", "limit"),
  responses = answers(answer("a list", { type = "object", required = list { "deploys" }, properties = {
    deploys = { type = "array", items = ref "deploy" } } }, nil, { ["application/x-ndjson"] = ref "deploy" }), 400, 503) })
fixed("/v1/deploys", "post", "operations", "other scripts, or a plan of what they would change", { id = "deploy",
  body = { required = true, content = json_of(ref "order") },
  responses = answers(answer("the gate's report, and the deploy if there was one", OBJECT), 400, 409, 413, 422, 503) })
fixed("/v1/deploys/undo", "post", "operations", "back to the deploy before", { id = "undo",
  body = { content = json_of(OBJECT) }, responses = answers(answer("the report", OBJECT), 400, 404, 409, 503) })
fixed("/v1/deploys/{number}", "get", "operations", "one deploy", { id = "deploy.one", path = use "number",
  responses = answers(answer("what it was", ref "deploy"), 400, 404, 503) })
fixed("/v1/deploys/{number}/scripts", "get", "operations", "its scripts", { id = "deploy.scripts", path = use "number",
  responses = answers(answer("each with its text", { type = "object", required = list { "scripts" },
    properties = { scripts = { type = "array",
    items = { type = "object", required = list { "path", "text" }, properties = { path = TEXT, hash = TEXT, text = TEXT } } } } }),
      400, 404, 503) })
fixed("/v1/rollback", "post", "operations", "cut the log back, or a plan of it", { id = "rollback",
  body = { required = true, content = json_of { type = "object", required = list { "to" }, properties = {
    to = { type = "string", description = "a position, a time or deploy:N" }, plan = { type = "boolean" } } } },
  responses = answers(answer("what went, or would", OBJECT), 400, 404, 409, 503) })
for _, each in ipairs { { "healthz", "it lives" }, { "readyz", "commands are answered; views may lag" } } do
  fixed("/" .. each[1], "get", "operations", each[2], { id = each[1],
    responses = answers(answer("yes", { type = "object", required = list { "status" }, properties = { status = TEXT } }), 503) })
end
fixed("/metrics", "get", "operations", "Prometheus text", { id = "metrics",
  responses = answers({ description = "metrics", content = { ["text/plain"] = { schema = TEXT } } }, 503) })

local tags = {}
for index, context in ipairs(book.contexts) do
  tags[index] = { name = context.name, description = context.comment ~= "" and context.comment or nil }
end
table.move({ { name = "hub", description = "of every context" }, { name = "operations", description = "for who runs the hub" } }, 1, 2,
  #tags + 1, tags)

core.write("", json_text { openapi = "3.1.0",
  info = { title = book.title, version = "1", license = { name = "of whoever wrote the scripts", identifier = "LicenseRef-scripts" },
    description = "The HTTP interface of a lore hub with these scripts. Names of tenants are in the path; main is the default." },
  servers = { { url = "http://127.0.0.1:7070" } }, security = list {}, tags = tags, paths = paths,
  components = { schemas = components, parameters = parameters, responses = problem_answers } })
