package gateway

import (
	"net/http"

	"golang.org/x/text/language"
)

// preferredLanguage returns the language that suits the header Accept-Language best, of those that people are answered in; ""
// where the header is missing or says nothing.
func preferredLanguage(r *http.Request) string {
	tags, _, err := language.ParseAcceptLanguage(r.Header.Get("Accept-Language"))
	if err != nil || len(tags) == 0 {
		return ""
	}
	answered := []language.Tag{language.English, language.Spanish, language.German, language.French}
	_, i, _ := language.NewMatcher(answered).Match(tags...)
	return answered[i].String()
}
