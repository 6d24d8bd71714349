export function watchLongestWork(): () => number;
