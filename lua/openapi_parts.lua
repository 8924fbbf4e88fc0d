-- openapi_parts.lua: what the routes of openapi.lua and openapi_hub.lua are made of.
local list = require "lore.json_text".list
local ref = require "lore.schemas".ref

local parts = {}

parts.TEXT, parts.NUMBER, parts.INTEGER, parts.OBJECT = { type = "string" }, { type = "integer", minimum = 1 }, { type = "integer" },
  { type = "object" }
local TEXT, NUMBER = parts.TEXT, parts.NUMBER

-- object({ "key" }, { key = TEXT }): what must be there, and what may be.
function parts.object(required, properties)
  return { type = "object", required = #required > 0 and list(required) or nil, properties = properties }
end

-- --- parameters ---

function parts.parameter(name, where, schema, description)
  return { name = name, ["in"] = where, required = where == "path" or nil, schema = schema, description = description }
end
local parameter = parts.parameter

local TENANT = { type = "string", pattern = "^[a-z][a-z0-9_-]{0,62}$", default = "main" }

parts.parameters = {
  tenant = parameter("tenant", "path", TENANT, "the default tenant is main"),
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

-- Those of these names.
function parts.use(...)
  local out = {}
  for index, name in ipairs { ... } do out[index] = { ["$ref"] = "#/components/parameters/" .. name } end
  return out
end

-- --- answers ---

function parts.json_of(schema, example) return { ["application/json"] = { schema = schema, example = example } } end

-- more: schemas by other content types.
function parts.answer(description, schema, example, more)
  local content = parts.json_of(schema, example)
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

parts.problems = {}
for status, description in pairs(PROBLEMS) do
  parts.problems["problem_" .. status] = { description = description,
    content = { ["application/problem+json"] = { schema = ref "problem" } } }
end

-- A good one, and the problems of these statuses.
function parts.answers(done, ...)
  local out = { ["200"] = done }
  for _, status in ipairs { ... } do out[tostring(status)] = { ["$ref"] = "#/components/responses/problem_" .. status } end
  return out
end

parts.problem = parts.object({ "type", "title", "status", "detail", "code" }, {
  type = { type = "string", examples = { "urn:lore:problem:rejected" } }, title = TEXT, status = { type = "integer" }, detail = TEXT,
  code = { type = "string", enum = { "malformed", "contract", "unknown_command", "not_found", "conflict", "too_large", "rejected",
    "id_reused", "busy", "unavailable", "rebuilding", "gone", "lagging", "script", "disk", "corrupt", "in_use", "permission", "refused",
    "scripts", "method_not_allowed", "internal", "usage", "forbidden", "unsupported_media_type", "headers_too_large", "uri_too_long",
    "expectation_failed", "timeout" } },
  reason = { type = "string", description = "of a rejection: the domain's own code" },
  version = { type = "integer", description = "of a conflict: where the stream is" },
  events = { type = "array", items = ref "event", description = "of a conflict: the events in between" } })
parts.problem.description = "RFC 9457"

return parts
