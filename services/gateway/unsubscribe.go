package gateway

import (
	"bytes"
	"fmt"
	"html/template"
	"net/http"
	"slices"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	policyv1 "cairn.care/gen/cairn/policy/v1"
)

// unsubscribePath is the link beneath an e-mail.
const unsubscribePath = "/unsubscribe/{token}"

// unsubscribe serves the link beneath an e-mail. GET changes nothing, because mailboxes follow links to look at them: it has a
// button. POST stops the messages; a mailbox's own button sends it without asking anything (RFC 8058).
func (g *Gateway) unsubscribe(mux *http.ServeMux) error {
	html, err := template.New("unsubscribe").Parse(unsubscribeHTML)
	if err != nil {
		return fmt.Errorf("unsubscribe page: %w", err)
	}
	recipients := membershipv1.NewRecipientsServiceClient(g.options.Peer("membership"))
	routes := map[string]*route{}
	for _, verb := range []string{http.MethodGet, http.MethodPost} {
		routes[verb] = &route{verb: verb, pattern: unsubscribePath, rule: &policyv1.Rule{Public: true}}
	}
	mux.HandleFunc("GET "+unsubscribePath, func(w http.ResponseWriter, r *http.Request) {
		callFrom(r.Context()).route = routes[http.MethodGet]
		g.unsubscribePage(w, r, html, http.StatusOK, page{Ask: true})
	})
	mux.Handle("POST "+unsubscribePath, named(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		callFrom(r.Context()).route = routes[http.MethodPost]
		resp, err := recipients.StopMessages(r.Context(), &membershipv1.StopMessagesRequest{Token: r.PathValue("token")})
		switch {
		case status.Code(err) == codes.InvalidArgument:
			g.unsubscribePage(w, r, html, http.StatusNotFound, page{})
		case err != nil:
			g.fail(w, r, err)
		default:
			g.unsubscribePage(w, r, html, http.StatusOK, page{Done: true, Kind: resp.GetKind()})
		}
	})))
	mux.HandleFunc(unsubscribePath, func(w http.ResponseWriter, r *http.Request) { g.notAllowed(w, r, http.MethodGet, http.MethodPost) })
	return nil
}

// page is what the page of an unsubscribe link shows: the question, or that it is done, or that there is no such link.
type page struct {
	Ask, Done bool
	Kind      membershipv1.Member_MessageKind
	Lang      string
	Words     unsubscribeWords
}

// What is the name of what was stopped.
func (p page) What() string { return p.Words.Kinds[p.Kind] }

func (g *Gateway) unsubscribePage(w http.ResponseWriter, r *http.Request, html *template.Template, code int, p page) {
	list := unsubscribeTexts()
	i := max(0, slices.IndexFunc(list, func(w unsubscribeWords) bool { return w.Lang == preferredLanguage(r) }))
	p.Lang, p.Words = list[i].Lang, list[i]
	var body bytes.Buffer
	if err := html.Execute(&body, p); err != nil {
		g.fail(w, r, err)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Vary", "Accept-Language")
	h.Set("X-Robots-Tag", "noindex")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'")
	w.WriteHeader(code)
	if _, err := w.Write(body.Bytes()); err != nil {
		return // the caller has gone
	}
}

const unsubscribeHTML = `<!doctype html>
<html lang="{{.Lang}}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>{{.Words.Title}}</title>
<style>body { font: 1.1rem/1.5 system-ui, sans-serif; max-width: 32rem; margin: 15vh auto; padding: 0 1rem } button { font: inherit; padding: .5rem 1rem }</style>
</head>
<body>
<main>
<h1>{{.Words.Title}}</h1>
{{- if .Ask}}
<p>{{.Words.Ask}}</p>
<form method="post"><input type="hidden" name="List-Unsubscribe" value="One-Click"><button>{{.Words.Button}}</button></form>
{{- else if .Done}}
<p role="status">{{.Words.Done}}{{with .What}} <strong>{{.}}</strong>.{{end}}</p>
<p>{{.Words.Undo}}</p>
{{- else}}
<p role="alert">{{.Words.Broken}}</p>
{{- end}}
</main>
</body>
</html>
`

// unsubscribeWords are the page's words in one language.
type unsubscribeWords struct {
	Lang, Title, Ask, Button, Done, Undo, Broken string
	Kinds                                        map[membershipv1.Member_MessageKind]string
}

// unsubscribeTexts are the page's words in the languages that e-mail is written in.
func unsubscribeTexts() []unsubscribeWords {
	type kinds = map[membershipv1.Member_MessageKind]string
	const (
		reminders     = membershipv1.Member_SESSION_REMINDERS
		changes       = membershipv1.Member_SESSION_CHANGES
		announcements = membershipv1.Member_ANNOUNCEMENTS
		places        = membershipv1.Member_PLACES
		matches       = membershipv1.Member_PEER_MATCHES
	)
	return []unsubscribeWords{
		{
			"en", "E-mails from your group", "Do you want to stop e-mails of this kind?", "Stop them", "You will get no more e-mails of this kind:",
			"If you change your mind, tell whoever runs your group.", "This link is not complete. Please open it from the e-mail again.",
			kinds{reminders: "reminders of sessions", changes: "changes of sessions", announcements: "announcements", places: "news of your place", matches: "proposals of peer support"},
		},
		{
			"es", "Correos de tu grupo", "¿Quieres dejar de recibir correos de este tipo?", "Dejar de recibirlos", "Ya no recibirás correos de este tipo:",
			"Si cambias de opinión, díselo a quien organiza tu grupo.", "Este enlace no está completo. Ábrelo de nuevo desde el correo.",
			kinds{reminders: "recordatorios de sesiones", changes: "cambios de sesiones", announcements: "anuncios", places: "noticias de tu plaza", matches: "propuestas de apoyo entre iguales"},
		},
		{
			"de", "E-Mails Ihrer Gruppe", "Möchten Sie keine solchen E-Mails mehr bekommen?", "Nicht mehr schicken", "Sie bekommen diese E-Mails nicht mehr:",
			"Wenn Sie es sich anders überlegen, sagen Sie es der Leitung Ihrer Gruppe.", "Dieser Link ist nicht vollständig. Bitte öffnen Sie ihn noch einmal aus der E-Mail.",
			kinds{reminders: "Erinnerungen an Treffen", changes: "Änderungen von Treffen", announcements: "Ankündigungen", places: "Nachrichten zu Ihrem Platz", matches: "Vorschläge für Begleitung"},
		},
		{
			"fr", "Messages de votre groupe", "Voulez-vous ne plus recevoir ce type de messages ?", "Ne plus les recevoir", "Vous ne recevrez plus ces messages :",
			"Si vous changez d'avis, dites-le à qui anime votre groupe.", "Ce lien est incomplet. Ouvrez-le de nouveau depuis le message.",
			kinds{reminders: "rappels de séances", changes: "changements de séances", announcements: "annonces", places: "nouvelles de votre place", matches: "propositions de soutien entre pairs"},
		},
	}
}
