package modes

import (
	"unicode/utf8"

	"github.com/rs/zerolog"
)

// shortSecret is the number of characters from which on a secret is taken
// without a word. Whoever talks to a server once can try guesses against what
// it answered, at home and as fast as a machine can.
const shortSecret = 16

// warnShort warns of a secret that can be guessed, without showing it. None at
// all is told elsewhere.
func warnShort(log zerolog.Logger, what, secret string) {
	if n := utf8.RuneCountInString(secret); n > 0 && n < shortSecret {
		log.Warn().Msgf("%s is shorter than %d characters: who connects once can guess it in quiet; take a longer one, such as openssl rand -base64 24 prints", what, shortSecret)
	}
}
