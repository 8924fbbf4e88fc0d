-- openapi_hub.lua: the routes that every hub has, whatever its scripts declare: added to paths, their schemas to components.
local list = require "lore.json_text".list
local parts = require "lore.openapi_parts"
local ref = require "lore.schemas".ref
local use, answer, answers, json_of, object, parameter = parts.use, parts.answer, parts.answers, parts.json_of, parts.object,
  parts.parameter
local TEXT, NUMBER, INTEGER, OBJECT = parts.TEXT, parts.NUMBER, parts.INTEGER, parts.OBJECT

local components = {
  events = object({ "events" }, { events = { type = "array", items = ref "event" },
    next = { type = "integer", description = "where the next page begins" } }),
  line = object({ "stream", "type", "data" }, { type = TEXT, data = OBJECT, id = ref "id", version = INTEGER,
    stream = { type = "string", description = "context/aggregate/id, or context/service" } }),
  deploy = object({ "number", "time", "state" }, { number = NUMBER, time = TEXT, actor = TEXT, note = TEXT, folder = TEXT, state = TEXT,
    forced = { type = "boolean" }, digest = TEXT }),
  question = object({}, { session = { type = "string", description = "the id that open gave; a source without one has its own session" },
    open = { type = "boolean" }, close = { type = "boolean" }, cancel = { type = "boolean" },
    write = { type = "boolean", description = "whether send may be called from here on" },
    source = { type = "string", description = "an expression, or statements" }, rows = { type = "integer", minimum = 0,
    description = "of a query: so many are told, 0: all" }, complete = { type = "string", description = "what stands before the cursor" },
    help = { type = "string", description = "a name, or nothing" } }),
  order = object({ "scripts" }, { note = TEXT, force = { type = "boolean" },
    plan = { type = "boolean", description = "only say what would change" },
    scripts = { type = "object", additionalProperties = TEXT, description = "text of each script by its path in the folder" } }),
}

local function list_of(name, item) return object({ name }, { [name] = { type = "array", items = item } }) end

local TRACED = object({ "kind", "depth", "id", "type", "stream" }, { kind = { enum = { "command", "event" } }, depth = INTEGER, id = TEXT,
  parent = TEXT, type = TEXT, stream = TEXT })
local SCRIPT = object({ "path", "text" }, { path = TEXT, hash = TEXT, text = TEXT })
local BLAMED = { parameter("event", "query", TEXT, "an event's id"), parameter("position", "query", NUMBER, "of an event"),
  parameter("stream", "query", TEXT, "context/aggregate/id"), parameter("version", "query", NUMBER, "of the stream"),
  parameter("view", "query", TEXT, "context/name"), parameter("key", "query", TEXT, "of its document"),
  parameter("last", "query", NUMBER, "at most so many events") }

return function(paths, schemas)
  for name, schema in pairs(components) do schemas[name] = schema end

  -- given: id, path (its parameters), parameters, body, responses
  local function add(method, path, tag, summary, given)
    paths[path] = paths[path] or { parameters = given.path }
    paths[path][method] = { summary = summary, operationId = given.id, tags = { tag }, parameters = given.parameters,
      requestBody = given.body, responses = given.responses }
  end

  add("post", "/v1/{tenant}/commands", "hub", "very many commands, one a line", { id = "bulk", path = use "tenant",
    body = { required = true, content = { ["application/x-ndjson"] = { schema = ref "line" } } },
    responses = answers({ description = "one answer a line, in the same order: as of a single command, or a problem",
      content = { ["application/x-ndjson"] = { schema = { anyOf = { ref "answer", ref "problem" } } } } }, 400, 404, 413, 429, 503) })
  add("get", "/v1/{tenant}/events", "hub", "the log, or its live tail", { id = "events", path = use "tenant",
    parameters = use("from", "until", "limit", "type", "context", "subject", "correlation_is", "deploy", "last_event_id"),
    responses = answers(answer("events in order", ref "events", nil, { ["application/x-ndjson"] = ref "event",
      ["text/event-stream"] = { type = "string", description = "data: lines are events; it does not end" } }), 400, 404, 410, 503) })
  add("get", "/v1/{tenant}/trace/{correlation}", "hub", "the tree of causes", { id = "trace", path = use("tenant", "correlation"),
    responses = answers(answer("commands and events in order", object({ "correlation", "trace" }, { correlation = TEXT,
      trace = { type = "array", items = TRACED } })), 400, 404, 503) })
  add("get", "/v1/{tenant}/blame", "hub", "which deploy, file and command made it", { id = "blame", path = use "tenant",
    parameters = BLAMED,
    responses = answers(answer("who made it", object({}, { blame = { type = "array", items = OBJECT } })), 400, 404, 503) })

  add("post", "/v1/{tenant}/repl", "hub", "questions in Lua, each in a session", { id = "repl", path = use "tenant",
    body = { required = true, content = { ["application/json"] = { schema = ref "question" } } },
    responses = answers({ description = "of a source: lines as they come, the last a value, none, incomplete or an error; else one line",
      content = { ["application/x-ndjson"] = { schema = OBJECT } } }, 400, 404, 409, 429, 503) })

  add("get", "/v1/status", "operations", "what runs, and where it stands", { id = "status",
    responses = answers(answer("a list", list_of("status", object({ "kind" }, { kind = TEXT })), nil,
      { ["application/x-ndjson"] = OBJECT }), 400, 503) })
  for _, each in ipairs { { "rebuild", "build a projection anew", "rebuilding" },
    { "retry", "a receptor that waits tries again now", "retrying" } } do
    add("post", ("/v1/status/%s/{name}"):format(each[1]), "operations", each[2], { id = each[1], path = use "name",
      responses = answers(answer("it begins", object({}, { [each[3]] = TEXT })), 400, 404, 409, 503) })
  end
  add("post", "/v1/status/run/{name}", "operations", "a task runs now", { id = "run", path = use "name",
    responses = answers(answer("how it ended", ref "answer"), 400, 404, 409, 500, 503) })

  add("get", "/v1/deploys", "operations", "the deploys, newest first", { id = "deploys", parameters = use("below", "limit"),
    responses = answers(answer("a list", list_of("deploys", ref "deploy"), nil, { ["application/x-ndjson"] = ref "deploy" }), 400, 503) })
  add("post", "/v1/deploys", "operations", "other scripts, or a plan of what they would change", { id = "deploy",
    body = { required = true, content = json_of(ref "order") },
    responses = answers(answer("the gate's report, and the deploy if there was one", OBJECT), 400, 409, 413, 422, 503) })
  add("post", "/v1/deploys/undo", "operations", "back to the deploy before", { id = "undo", body = { content = json_of(OBJECT) },
    responses = answers(answer("the report", OBJECT), 400, 404, 409, 503) })
  add("get", "/v1/deploys/{number}", "operations", "one deploy", { id = "deploy.one", path = use "number",
    responses = answers(answer("what it was", ref "deploy"), 400, 404, 503) })
  add("get", "/v1/deploys/{number}/scripts", "operations", "its scripts", { id = "deploy.scripts", path = use "number",
    responses = answers(answer("each with its text", list_of("scripts", SCRIPT)), 400, 404, 503) })
  add("post", "/v1/rollback", "operations", "cut the log back, or a plan of it", { id = "rollback",
    body = { required = true, content = json_of(object({ "to" }, { plan = { type = "boolean" },
      to = { type = "string", description = "a position, a time or deploy:N" } })) },
    responses = answers(answer("what went, or would", OBJECT), 400, 404, 409, 503) })

  for _, each in ipairs { { "healthz", "it lives" }, { "readyz", "commands are answered; views may lag" } } do
    add("get", "/" .. each[1], "operations", each[2], { id = each[1],
      responses = answers(answer("yes", object({ "status" }, { status = TEXT })), 503) })
  end
  add("get", "/metrics", "operations", "Prometheus text", { id = "metrics",
    responses = answers({ description = "metrics", content = { ["text/plain"] = { schema = TEXT } } }, 503) })
  return list { { name = "hub", description = "of every context" }, { name = "operations", description = "for who runs the hub" } }
end
