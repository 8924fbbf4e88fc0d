// check.mjs FOLDER: holds FOLDER/openapi.json, asyncapi.json and exchanges.json against their standards and each other. Prints JSON:
// { openapi: [problem…], asyncapi: [problem…], examples: number, exchanges: [problem or null…] }. An exchange is
// { path, method, status, type, body }: an answer as the description has it, or without a status a request's body.
import fs from "node:fs";
import path from "node:path";
import SwaggerParser from "@apidevtools/swagger-parser";
import asyncapi from "@asyncapi/parser";
import Ajv from "ajv/dist/2020.js";

const folder = process.argv[2];
const read = (name) => JSON.parse(fs.readFileSync(path.join(folder, name), "utf8"));
const found = { openapi: [], asyncapi: [], examples: 0, exchanges: [] };

const openapi = read("openapi.json");
try {
  await SwaggerParser.validate(structuredClone(openapi));
} catch (error) {
  found.openapi.push(String(error.message).slice(0, 2000));
}

const parsed = await new asyncapi.Parser().parse(fs.readFileSync(path.join(folder, "asyncapi.json"), "utf8"));
for (const each of parsed.diagnostics)
  if (each.code !== "asyncapi-latest-version") found.asyncapi.push(`${each.code} ${each.path.join("/")}: ${each.message}`);
if (!parsed.document && found.asyncapi.length === 0) found.asyncapi.push("no document");

const ajv = new Ajv({ strict: false, allErrors: true, formats: { int64: true, "date-time": true } });
ajv.addSchema({ $id: "http://lore/", components: openapi.components });
const check = (schema, value) => {
  const wanted = JSON.parse(JSON.stringify(schema).replaceAll('"#/', '"http://lore/#/'));
  const valid = ajv.compile(wanted);
  return valid(value) ? null : ajv.errorsText(valid.errors);
};

for (const [name, schema] of Object.entries(openapi.components.schemas))
  for (const example of schema.examples ?? []) {
    found.examples++;
    const problem = check(schema, example);
    if (problem) found.openapi.push(`example of ${name}: ${problem}`);
  }

const resolve = (each) => (each.$ref ? each.$ref.slice(2).split("/").reduce((at, key) => at[key], openapi) : each);
for (const { path: route, method, status, type, body } of read("exchanges.json")) {
  const operation = openapi.paths[route]?.[method];
  const part = operation && (status ? operation.responses[status] && resolve(operation.responses[status]) : operation.requestBody);
  const content = part?.content?.[type];
  found.exchanges.push(content ? check(content.schema, body) : `${method} ${route} ${status ?? "request"} ${type} is not described`);
}
console.log(JSON.stringify(found));
