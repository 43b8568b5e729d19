package index

import (
	"strings"
	"sync"
)

// stopwords are words of questions that say nothing of a group: articles, prepositions and the like in English, Spanish, German and
// French, without accents. A word that means something in one of the four is not among them ("sein" is a breast in French).
var stopwords = sync.OnceValue(func() map[string]bool {
	const all = `
		a an and any are as at be by can do for from have i im in is it its me my near nearby of on or our that the this to we what where which
		who with you your looking need want find
		al con cerca como cual de del donde e el ella en es esta este la las lo los mi mis o para por que se su sus un una unas uno unos y yo busco
		am auf aus bei beim bin das dem den der des die ein eine einem einen einer eines fur ich ihr im ist meine meinem meinen meiner mich mir mit
		nahe oder suche uber und vom von vor was wer wie wo zu zum zur nach
		au aux avec ce ces cette chez dans du est et je l d ma mes moi mon nous ou par pas pour pres qui sa ses son sur une vous cherche`
	out := map[string]bool{}
	for w := range strings.FieldsSeq(all) {
		out[w] = true
	}
	return out
})
