/** Answers the page's quiz as a learner would: by reading the question. */

/** The answer to a question, from its text. */
export function solve(question) {
  const [a, b, c] = question.match(/\d+/g).map(Number);
  if (question.includes("×")) return a * b;
  if (question.includes("/")) return (c / b) * a;
  if (question.includes("%")) return (a * b) / 100;
  if (question.includes("x")) return question.startsWith("x") ? b - a : (c - b) / a;
  return a + b;
}

/** Answer the question that is shown, rightly or not, and go on to another. */
export async function answer(page, { right = true } = {}) {
  const question = await page.locator(".question__text").textContent();
  await page
    .getByRole("textbox", { name: "Your answer" })
    .fill(String(solve(question) + (right ? 0 : 1)));
  await page.getByRole("button", { name: "Answer", exact: true }).click();
  await page.getByRole("button", { name: right ? "Next task" : "Try another one" }).click();
}

/** The revision that a page shows of a learner; 0 before the first answer. */
export async function revision(page, selector) {
  return Number((await page.locator(selector).getAttribute("data-revision")) ?? 0);
}
