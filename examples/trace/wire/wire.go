// Package wire is what the server and the client of the example share.
package wire

// Service is the name of the server.
const Service = "go.micro.example.greeter"

// Request travels as JSON, as Response does.
type Request struct{ Name string }

// Response answers a Request.
type Response struct{ Text string }
