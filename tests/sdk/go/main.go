// The Go SDK centrifuge-go, driven by tests; see ../driver.py for what is said here.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"os"
	"sort"
	"sync"
	"time"

	"github.com/centrifugal/centrifuge-go"
)

type details map[string]any

// command is a line from the test; each command uses some of the fields.
type command struct {
	ID        int             `json:"id"`
	Do        string          `json:"do"`
	Channel   string          `json:"channel"`
	Token     string          `json:"token"`
	JoinLeave bool            `json:"joinLeave"`
	Method    string          `json:"method"`
	Limit     int32           `json:"limit"`
	Data      json.RawMessage `json:"data"`
}

var (
	output          sync.Mutex
	waitingForToken = make(chan string, 16)
)

func say(message details) {
	line, err := json.Marshal(message)
	if err != nil {
		panic(err)
	}
	output.Lock()
	defer output.Unlock()
	os.Stdout.Write(append(line, '\n'))
}

func tell(event string, message details) {
	message["event"] = event
	say(message)
}

func askForToken(channel string) (string, error) {
	tell("token", details{"channel": channel})
	return <-waitingForToken, nil
}

func unpack(data []byte) json.RawMessage {
	if len(data) == 0 {
		return json.RawMessage("null")
	}
	return json.RawMessage(data)
}

func codeOf(err error) uint32 {
	var refused *centrifuge.Error
	if errors.As(err, &refused) {
		return refused.Code
	}
	return 0
}

func tellOfPublication(channel string, publication centrifuge.Publication) {
	by, tags := "", publication.Tags
	if publication.Info != nil {
		by = publication.Info.User
	}
	if tags == nil {
		tags = map[string]string{}
	}
	tell("publication", details{
		"channel": channel, "data": unpack(publication.Data), "offset": publication.Offset, "by": by, "tags": tags,
	})
}

func newClient() *centrifuge.Client {
	config := centrifuge.Config{MinReconnectDelay: 50 * time.Millisecond, MaxReconnectDelay: 500 * time.Millisecond}
	if token := os.Getenv("TOKEN"); token == "ask" {
		config.GetToken = func(centrifuge.ConnectionTokenEvent) (string, error) { return askForToken("") }
	} else {
		config.Token = token
	}
	make := centrifuge.NewJsonClient
	if os.Getenv("FORM") == "protobuf" {
		make = centrifuge.NewProtobufClient
	}
	client := make(os.Getenv("URL"), config)
	client.OnConnecting(func(e centrifuge.ConnectingEvent) { tell("connecting", details{"code": e.Code}) })
	client.OnConnected(func(e centrifuge.ConnectedEvent) { tell("connected", details{"data": unpack(e.Data)}) })
	client.OnDisconnected(func(e centrifuge.DisconnectedEvent) { tell("disconnected", details{"code": e.Code}) })
	client.OnError(func(e centrifuge.ErrorEvent) { tell("error", details{"code": codeOf(e.Error)}) })
	client.OnMessage(func(e centrifuge.MessageEvent) { tell("message", details{"data": unpack(e.Data)}) })
	client.OnPublication(func(e centrifuge.ServerPublicationEvent) { tellOfPublication(e.Channel, e.Publication) })
	client.OnSubscribed(func(e centrifuge.ServerSubscribedEvent) {
		tell("subscribed", details{"channel": e.Channel, "wasRecovering": e.WasRecovering, "recovered": e.Recovered})
	})
	client.OnUnsubscribed(func(e centrifuge.ServerUnsubscribedEvent) { tell("unsubscribed", details{"channel": e.Channel}) })
	return client
}

func newSubscription(client *centrifuge.Client, c command) (*centrifuge.Subscription, error) {
	config := centrifuge.SubscriptionConfig{
		JoinLeave:           c.JoinLeave,
		MinResubscribeDelay: 50 * time.Millisecond,
		MaxResubscribeDelay: 500 * time.Millisecond,
	}
	if c.Token == "ask" {
		config.GetToken = func(e centrifuge.SubscriptionTokenEvent) (string, error) { return askForToken(e.Channel) }
	} else {
		config.Token = c.Token
	}
	subscription, err := client.NewSubscription(c.Channel, config)
	if err != nil {
		return nil, err
	}
	channel := c.Channel
	subscription.OnSubscribed(func(e centrifuge.SubscribedEvent) {
		tell("subscribed", details{"channel": channel, "wasRecovering": e.WasRecovering, "recovered": e.Recovered})
	})
	subscription.OnUnsubscribed(func(e centrifuge.UnsubscribedEvent) {
		tell("unsubscribed", details{"channel": channel, "code": e.Code})
	})
	subscription.OnError(func(e centrifuge.SubscriptionErrorEvent) {
		tell("error", details{"channel": channel, "code": codeOf(e.Error)})
	})
	subscription.OnPublication(func(e centrifuge.PublicationEvent) { tellOfPublication(channel, e.Publication) })
	subscription.OnJoin(func(e centrifuge.JoinEvent) { tell("join", details{"channel": channel, "user": e.User}) })
	subscription.OnLeave(func(e centrifuge.LeaveEvent) { tell("leave", details{"channel": channel, "user": e.User}) })
	return subscription, nil
}

func history(ctx context.Context, client *centrifuge.Client, c command) (any, error) {
	found, err := client.History(ctx, c.Channel, centrifuge.WithHistoryLimit(c.Limit))
	publications := []details{}
	for _, one := range found.Publications {
		publications = append(publications, details{"offset": one.Offset, "data": unpack(one.Data)})
	}
	return details{"offset": found.Offset, "epoch": found.Epoch, "publications": publications}, err
}

func presence(ctx context.Context, client *centrifuge.Client, c command) (any, error) {
	found, err := client.Presence(ctx, c.Channel)
	users := []string{}
	for _, info := range found.Clients {
		users = append(users, info.User)
	}
	sort.Strings(users)
	return details{"users": users}, err
}

// perform carries out one command and returns the result for the test.
func perform(client *centrifuge.Client, c command) (any, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	nothing := details{}
	switch c.Do {
	case "connect":
		return nothing, client.Connect()
	case "disconnect":
		return nothing, client.Disconnect()
	case "subscribe":
		subscription, known := client.GetSubscription(c.Channel)
		if !known {
			var err error
			if subscription, err = newSubscription(client, c); err != nil {
				return nothing, err
			}
		}
		return nothing, subscription.Subscribe()
	case "unsubscribe":
		subscription, _ := client.GetSubscription(c.Channel)
		return nothing, subscription.Unsubscribe()
	case "publish":
		_, err := client.Publish(ctx, c.Channel, c.Data)
		return nothing, err
	case "rpc":
		result, err := client.RPC(ctx, c.Method, c.Data)
		return unpack(result.Data), err
	case "send":
		return nothing, client.Send(ctx, c.Data)
	case "history":
		return history(ctx, client, c)
	case "presence":
		return presence(ctx, client, c)
	case "presence_stats":
		found, err := client.PresenceStats(ctx, c.Channel)
		return details{"clients": found.NumClients, "users": found.NumUsers}, err
	case "token":
		waitingForToken <- c.Token
		return nothing, nil
	}
	return nothing, errors.New("no such command: " + c.Do)
}

func main() {
	client := newClient()
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var c command
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			panic(err)
		}
		go func() {
			result, err := perform(client, c)
			if err != nil {
				say(details{"id": c.ID, "error": details{"code": codeOf(err), "message": err.Error()}})
				return
			}
			say(details{"id": c.ID, "ok": result})
		}()
	}
}
