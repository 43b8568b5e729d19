package gateway

import (
	"embed"
	"fmt"
	"io/fs"
	"net/http"
	"strconv"

	"google.golang.org/grpc/metadata"

	partnersv1 "cairn.care/gen/cairn/partners/v1"
	"cairn.care/gen/openapi"
	"cairn.care/services/chassis"
	"cairn.care/services/gateway/directory"
	"cairn.care/services/gateway/oauth"
)

//go:embed docs
var docs embed.FS

// static serves what is no RPC: the API's description, its reference page, and the OAuth endpoints.
func (g *Gateway) static() (*http.ServeMux, error) {
	mux := http.NewServeMux()
	only := func(verb, path string, h http.Handler) {
		mux.Handle(verb+" "+path, h)
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) { g.notAllowed(w, r, verb) })
	}
	api, err := directory.Describe(openapi.JSON())
	if err != nil {
		return nil, err
	}
	only(http.MethodGet, "/openapi.json", document("application/json", []byte(api)))
	for name, page := range map[string]struct{ path, contentType string }{
		"index.html": {"/docs", "text/html; charset=utf-8"},
		"docs.css":   {"/docs/docs.css", "text/css; charset=utf-8"},
		"docs.js":    {"/docs/docs.js", "text/javascript; charset=utf-8"},
	} {
		body, err := fs.ReadFile(docs, "docs/"+name)
		if err != nil {
			return nil, fmt.Errorf("reference page: %w", err)
		}
		only(http.MethodGet, page.path, document(page.contentType, body))
	}
	tokens, err := oauth.Handler(partnersv1.NewTokenServiceClient(rated{g.options.Peer("partners")}), g.options.PublicURL, g.options.Log)
	if err != nil {
		return nil, fmt.Errorf("oauth: %w", err)
	}
	tokens = named(tokens)
	only(http.MethodPost, oauth.TokenPath, tokens)
	only(http.MethodGet, oauth.SMARTPath, tokens)
	only(http.MethodGet, oauth.JWKSPath, tokens)
	g.faces(only)
	if err := g.unsubscribe(mux); err != nil {
		return nil, err
	}
	mux.Handle("GET /docs/{$}", http.RedirectHandler("/docs", http.StatusMovedPermanently))
	mux.Handle("GET /{$}", http.RedirectHandler("/docs", http.StatusFound))
	mux.HandleFunc("/", g.notFound)
	return mux, nil
}

// document serves a text that does not change while the program runs.
func document(contentType string, body []byte) http.Handler {
	tag := contentETag(body)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Type", contentType)
		h.Set("ETag", tag)
		h.Set("Cache-Control", "public, max-age=300")
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		h.Set("Referrer-Policy", "no-referrer")
		if matches(r.Header.Values("If-None-Match"), tag) {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		h.Set("Content-Length", strconv.Itoa(len(body)))
		if _, err := w.Write(body); err != nil {
			return // the caller has gone
		}
	})
}

// named passes the request's id on to the service that the handler calls.
func named(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := metadata.AppendToOutgoingContext(r.Context(), chassis.RequestIDHeader, callFrom(r.Context()).id)
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}
