/**
 * Everything that the page says to a child beside the tasks: short words, nothing that shames.
 * `tests/practice.test.ts` measures each sentence and checks it against a list. Pure.
 */

/** What is written on the page. */
export const texts = {
  hello: (name: string) => `Hello, ${name}`,
  yourAnswer: "Your answer",
  answer: "Answer",
  next: "Next task",
  hint: "Give me a hint",
  anotherHint: "Another hint",
  another: "Try another one",
  right: "Yes, that is right.",
  rightAfterTrying: "Yes, that is right. It was good to try again.",
  notYet: "Not yet. Try again, or take a hint.",
  notYetAgain: "Not yet. A hint can help you.",
  notANumber: "Please type a number.",
  answers: "Your answers",
  gotHint: "Hint",
  gotRight: "Right",
  gotNotYet: "Not yet",
  waiting: "Kept here. It will be sent soon.",
  saved: "Saved",
  notSaved: "This one was not saved. Tell your teacher.",
  earlier: (count: number) =>
    count === 1
      ? "One answer is kept here. It will be sent soon."
      : `${count} answers are kept here. They will be sent soon.`,
  wentWell: "What went well",
  nextStep: "Your next step",
  growing: "What you can do",
  grown: "growing",
  start: "Answer a task to begin.",
} as const;

/** What went well, by code. */
export const praises = {
  streak: (count: number) => `You got ${count} right in a row.`,
  came_back: "You tried again, and you got it.",
  hint_helped: "You took a hint, and it helped.",
  grown: (skill: string) => `You know more about ${skill} now.`,
  solved: (count: number) => `You have solved ${count} tasks.`,
  solved_one: "You have solved a task.",
  trying: "You are trying. That is how we learn.",
} as const;

/** One next step, by the code of the server's advice; its own sentences are for adults. */
export const steps = {
  take_break: "Take a short break. Stand up and stretch.",
  scaffold: "Take a hint first. Then try the next task.",
  worked_example: "Ask for a hint. It shows you the way.",
  harder: "You are ready for a harder task.",
  slow_down: "Read the task one more time. Then answer.",
  check_in: "Do the next task with your teacher.",
  re_engage: "Do one more task. Then you can rest.",
  spaced_review: "Do some tasks that you know from before.",
  go_on: "Go on like this. Take the next task.",
} as const;

/** Names of skills as they stand in a sentence. */
export const skillNames: Readonly<Record<string, string>> = {
  addition: "plus tasks",
  multiplication: "times tasks",
  fractions: "parts of a whole",
  percentages: "parts of a hundred",
  equations: "finding x",
};
