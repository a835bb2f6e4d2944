package door

// LastWords is how long an answer may be on its way after its request's time.
const LastWords = lastWords
