import { jwt } from "../../fakes";

export function getToken(): string | null {
  return jwt("u1");
}
