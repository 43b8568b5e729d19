// Package oauth is the token issuer's HTTP face: the token endpoint in the words of
// RFC 6749, and the documents by which clients and resource servers find their way. It
// translates; every decision is the partners service's.
package oauth

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	partnersv1 "cairn.care/gen/cairn/partners/v1"
)

// Paths of the handler, under the public URL.
const (
	TokenPath = "/oauth2/token" //nolint:gosec // a path, no credential
	SMARTPath = "/.well-known/smart-configuration"
	JWKSPath  = "/.well-known/jwks.json"
)

const maxForm = 32 << 10 // bytes

type handler struct {
	tokens partnersv1.TokenServiceClient
	log    *slog.Logger
}

// Handler serves POST /oauth2/token, GET /.well-known/smart-configuration and
// GET /.well-known/jwks.json. publicURL is the URL under which clients reach it, with no
// slash at the end.
func Handler(tokens partnersv1.TokenServiceClient, publicURL string, log *slog.Logger) (http.Handler, error) {
	h := &handler{tokens: tokens, log: log}
	discovery, err := newDocument(smartConfiguration(publicURL))
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+TokenPath, h.token)
	mux.HandleFunc("GET "+JWKSPath, h.jwks)
	mux.HandleFunc("GET "+SMARTPath, func(w http.ResponseWriter, r *http.Request) {
		if err := discovery.serve(w, r); err != nil {
			h.lost(r, err)
		}
	})
	return mux, nil
}

// tokenResponse is RFC 6749 §5.1.
type tokenResponse struct {
	AccessToken string `json:"access_token"`
	TokenType   string `json:"token_type"`
	ExpiresIn   int32  `json:"expires_in"`
	Scope       string `json:"scope"`
}

// tokenError is RFC 6749 §5.2.
type tokenError struct {
	Code        string `json:"error"`
	Description string `json:"error_description"`
}

func (h *handler) token(w http.ResponseWriter, r *http.Request) {
	req, err := readForm(w, r)
	if err != nil {
		h.answer(w, r, http.StatusBadRequest, tokenError{"invalid_request", describe(err.Error())})
		return
	}
	resp, err := h.tokens.IssueToken(r.Context(), req)
	if err != nil {
		h.refuse(w, r, err)
		return
	}
	h.answer(w, r, http.StatusOK, tokenResponse{
		AccessToken: resp.GetAccessToken(), TokenType: resp.GetTokenType(), ExpiresIn: resp.GetExpiresIn(), Scope: resp.GetScope(),
	})
}

// readForm reads the parameters from the body, and from nowhere else (RFC 6749 §3.2).
func readForm(w http.ResponseWriter, r *http.Request) (*partnersv1.IssueTokenRequest, error) {
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/x-www-form-urlencoded" {
		return nil, errors.New("Content-Type must be application/x-www-form-urlencoded")
	}
	if r.Header.Get("Authorization") != "" {
		return nil, errors.New("authenticate with client_assertion, not with an Authorization header")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxForm))
	if err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return nil, fmt.Errorf("the body is longer than %d bytes", maxForm)
		}
		return nil, errors.New("the body could not be read")
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, errors.New("the body is not a form")
	}
	req := new(partnersv1.IssueTokenRequest)
	for name, to := range map[string]*string{
		"grant_type": &req.GrantType, "client_assertion_type": &req.ClientAssertionType, "client_assertion": &req.ClientAssertion,
		"scope": &req.Scope, "client_id": &req.ClientId,
	} {
		if len(form[name]) > 1 {
			return nil, fmt.Errorf("%s comes more than once", name)
		}
		if *to = form.Get(name); !valid(*to) {
			return nil, fmt.Errorf("%s has characters that it may not have", name)
		}
	}
	return req, nil
}

// valid tells whether a parameter is printable ASCII (RFC 6749 appendix A).
func valid(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// refusal translates a status: the partners service names the OAuth error in its metadata.
func refusal(err error) (int, tokenError) {
	st := status.Convert(err)
	for _, d := range st.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok && info.GetMetadata()["error"] != "" {
			body := tokenError{info.GetMetadata()["error"], describe(st.Message())}
			if st.Code() == codes.Unauthenticated {
				return http.StatusUnauthorized, body
			}
			return http.StatusBadRequest, body
		}
	}
	switch st.Code() {
	case codes.InvalidArgument:
		return http.StatusBadRequest, tokenError{"invalid_request", describe(st.Message())}
	case codes.ResourceExhausted:
		return http.StatusTooManyRequests, tokenError{"temporarily_unavailable", describe(st.Message())}
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled:
		return http.StatusServiceUnavailable, tokenError{"temporarily_unavailable", "no token can be issued for the moment: try again"}
	}
	return http.StatusInternalServerError, tokenError{"server_error", "no token can be issued because of an internal error"}
}

// retryAfter is in how many seconds a call that failed may be made again.
func retryAfter(err error) int {
	for _, d := range status.Convert(err).Details() {
		if retry, ok := d.(*errdetails.RetryInfo); ok {
			return max(1, int(math.Ceil(retry.GetRetryDelay().AsDuration().Seconds())))
		}
	}
	return 1
}

// describe returns a text with the characters that error_description may have: printable
// ASCII without quotation mark and backslash (RFC 6749 §5.2).
func describe(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '"' || r == '\\':
			return '\''
		case r < ' ' || r > '~':
			return '?'
		}
		return r
	}, s)
}

// refuse answers with what a failed call means to the client.
func (h *handler) refuse(w http.ResponseWriter, r *http.Request, err error) {
	code, body := refusal(err)
	if code == http.StatusServiceUnavailable || code == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", strconv.Itoa(retryAfter(err)))
	}
	h.answer(w, r, code, body)
}

// answer writes JSON that nobody may keep (RFC 6749 §5.1).
func (h *handler) answer(w http.ResponseWriter, r *http.Request, code int, body any) {
	w.Header().Set("Content-Type", "application/json;charset=UTF-8")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Pragma", "no-cache")
	w.WriteHeader(code)
	if err := json.NewEncoder(w).Encode(body); err != nil {
		h.lost(r, err)
	}
}

// lost logs an answer that did not reach the client.
func (h *handler) lost(r *http.Request, err error) {
	h.log.DebugContext(r.Context(), "answer lost", "path", r.URL.Path, "err", err)
}
