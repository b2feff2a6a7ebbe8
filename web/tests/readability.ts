/** How easily English sentences are read, as far as it can be counted. */

/** Spoken parts of a word: groups of vowels, without a mute e at the end. */
export function syllables(word: string): number {
  const plain = word.toLowerCase().replace(/[^a-z]/g, "");
  const spoken = plain.replace(/(?:[^laeiouycghsxz]es|[^aeioulrt]ed|[^l]e)$/, "").replace(/^y/, "");
  return Math.max(1, spoken.match(/[aeiouy]+/g)?.length ?? 1);
}

const wordsOf = (text: string) => text.match(/[A-Za-z']+|\d+/g) ?? [];
const sentencesOf = (text: string) =>
  text.split(/[.!?]+/).filter((part) => wordsOf(part).length > 0);

/**
 * The school year in which a text is read with ease: Flesch–Kincaid grade level (Kincaid et al.,
 * 1975).
 */
export function gradeLevel(text: string): number {
  const words = wordsOf(text);
  const spoken = words.reduce((sum, word) => sum + syllables(word), 0);
  return 0.39 * (words.length / sentencesOf(text).length) + 11.8 * (spoken / words.length) - 15.59;
}

/** Words of the longest sentence. */
export function longestSentence(text: string): number {
  return Math.max(...sentencesOf(text).map((part) => wordsOf(part).length));
}

/** Words of many parts. */
export function longWords(text: string, most: number): readonly string[] {
  return wordsOf(text).filter((word) => syllables(word) > most);
}

/** What is never said to a child about their own work: it judges, compares or discourages. */
export const shaming =
  /%|\b(wrong|incorrect|false|fail\w*|bad\w*|slow\w*|stuck|frustrat\w*|load|fatigue\w*|tired|bor(ed|ing)|weak\w*|poor\w*|mistake\w*|error\w*|lazy|careless\w*|wors[et]\w*|behind|stupid|dumb|should|must|only|never|cannot|can't|low(er|est)?|less|problem\w*|trouble|struggl\w*|guess\w*|others?|everybody|class(mates)?|score\w*|rank\w*|easy|simple|again and again|still|finally|at last)\b/i;
