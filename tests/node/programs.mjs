// What the scenarios share: where the server is, and packages from the folder they are installed in.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

export const port = Number(process.argv[2]);
const modules = createRequire(`${process.argv[3]}/`);

export async function load(name) {
  return import(pathToFileURL(modules.resolve(name)));
}
