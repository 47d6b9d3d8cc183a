// The Java SDK centrifuge-java, driven by tests; see ../driver.py for what is said here.

import com.google.gson.Gson;
import com.google.gson.JsonElement;
import com.google.gson.JsonNull;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import io.github.centrifugal.centrifuge.*;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.concurrent.LinkedBlockingQueue;

public class Main {
  private static final Gson GSON = new Gson();
  private static final LinkedBlockingQueue<TokenCallback> WAITING_FOR_TOKEN = new LinkedBlockingQueue<>();

  private static synchronized void say(Map<String, Object> message) {
    System.out.println(GSON.toJson(message));
    System.out.flush();
  }

  private static void tell(String event, Object... details) {
    Map<String, Object> message = new java.util.HashMap<>();
    message.put("event", event);
    for (int i = 0; i < details.length; i += 2) {
      message.put((String) details[i], details[i + 1]);
    }
    say(message);
  }

  private static byte[] pack(JsonElement value) {
    return GSON.toJson(value).getBytes(StandardCharsets.UTF_8);
  }

  private static JsonElement unpack(byte[] data) {
    if (data == null || data.length == 0) {
      return JsonNull.INSTANCE;
    }
    return JsonParser.parseString(new String(data, StandardCharsets.UTF_8));
  }

  private static int codeOf(Throwable error) {
    if (error instanceof ReplyError refused) {
      return refused.getCode();
    }
    if (error instanceof SubscriptionErrorEvent event) {
      return codeOf(event.getError());
    }
    if (error instanceof SubscriptionSubscribeError failed) {
      return codeOf(failed.getError());
    }
    return 0;
  }

  private static void askForToken(String channel, TokenCallback callback) {
    WAITING_FOR_TOKEN.add(callback);
    tell("token", "channel", channel);
  }

  private static void tellOfPublication(
      String channel, byte[] data, long offset, ClientInfo info, Map<String, String> tags) {
    tell(
        "publication",
        "channel", channel,
        "data", unpack(data),
        "offset", offset,
        "by", info == null ? "" : info.getUser(),
        "tags", tags == null ? Map.of() : tags);
  }

  private static class OfClient extends EventListener {
    @Override
    public void onConnecting(Client client, ConnectingEvent event) {
      tell("connecting", "code", event.getCode());
    }

    @Override
    public void onConnected(Client client, ConnectedEvent event) {
      tell("connected", "data", unpack(event.getData()));
    }

    @Override
    public void onDisconnected(Client client, DisconnectedEvent event) {
      tell("disconnected", "code", event.getCode());
    }

    @Override
    public void onError(Client client, ErrorEvent event) {
      tell("error", "code", codeOf(event.getError()));
    }

    @Override
    public void onMessage(Client client, MessageEvent event) {
      tell("message", "data", unpack(event.getData()));
    }

    @Override
    public void onSubscribed(Client client, ServerSubscribedEvent event) {
      tellOfSubscribed(event.getChannel(), event.wasRecovering(), event.getRecovered());
    }

    @Override
    public void onUnsubscribed(Client client, ServerUnsubscribedEvent event) {
      tell("unsubscribed", "channel", event.getChannel());
    }

    @Override
    public void onPublication(Client client, ServerPublicationEvent event) {
      tellOfPublication(
          event.getChannel(), event.getData(), event.getOffset(), event.getInfo(), event.getTags());
    }
  }

  private static void tellOfSubscribed(String channel, Boolean wasRecovering, Boolean recovered) {
    tell(
        "subscribed",
        "channel", channel,
        "wasRecovering", Boolean.TRUE.equals(wasRecovering),
        "recovered", Boolean.TRUE.equals(recovered));
  }

  private static class OfSubscription extends SubscriptionEventListener {
    @Override
    public void onSubscribed(Subscription sub, SubscribedEvent event) {
      tellOfSubscribed(sub.getChannel(), event.wasRecovering(), event.getRecovered());
    }

    @Override
    public void onUnsubscribed(Subscription sub, UnsubscribedEvent event) {
      tell("unsubscribed", "channel", sub.getChannel(), "code", event.getCode());
    }

    @Override
    public void onError(Subscription sub, SubscriptionErrorEvent event) {
      tell("error", "channel", sub.getChannel(), "code", codeOf(event));
    }

    @Override
    public void onPublication(Subscription sub, PublicationEvent event) {
      tellOfPublication(
          sub.getChannel(), event.getData(), event.getOffset(), event.getInfo(), event.getTags());
    }

    @Override
    public void onJoin(Subscription sub, JoinEvent event) {
      tell("join", "channel", sub.getChannel(), "user", event.getInfo().getUser());
    }

    @Override
    public void onLeave(Subscription sub, LeaveEvent event) {
      tell("leave", "channel", sub.getChannel(), "user", event.getInfo().getUser());
    }
  }

  private static Client newClient() {
    Options options = new Options();
    options.setMinReconnectDelay(50);
    options.setMaxReconnectDelay(500);
    String token = System.getenv("TOKEN");
    if (token.equals("ask")) {
      options.setTokenGetter(
          new ConnectionTokenGetter() {
            @Override
            public void getConnectionToken(ConnectionTokenEvent event, TokenCallback callback) {
              askForToken("", callback);
            }
          });
    } else {
      options.setToken(token);
    }
    return new Client(System.getenv("URL"), options, new OfClient());
  }

  private static Subscription newSubscription(Client client, JsonObject command) throws Exception {
    SubscriptionOptions options = new SubscriptionOptions();
    options.setMinResubscribeDelay(50);
    options.setMaxResubscribeDelay(500);
    options.setJoinLeave(command.has("joinLeave") && command.get("joinLeave").getAsBoolean());
    String token = command.has("token") ? command.get("token").getAsString() : "";
    if (token.equals("ask")) {
      options.setTokenGetter(
          new SubscriptionTokenGetter() {
            @Override
            public void getSubscriptionToken(SubscriptionTokenEvent event, TokenCallback callback) {
              askForToken(event.getChannel(), callback);
            }
          });
    } else {
      options.setToken(token);
    }
    String channel = command.get("channel").getAsString();
    return client.newSubscription(channel, options, new OfSubscription());
  }

  private static void answer(int id, Throwable error, Object result) {
    if (error == null) {
      say(Map.of("id", id, "ok", result));
      return;
    }
    say(Map.of("id", id, "error", Map.of("code", codeOf(error), "message", error.toString())));
  }

  private static Object describe(HistoryResult found) {
    List<Object> publications = new ArrayList<>();
    for (Publication one : found.getPublications()) {
      publications.add(Map.of("offset", one.getOffset(), "data", unpack(one.getData())));
    }
    return Map.of(
        "offset", found.getOffset(), "epoch", found.getEpoch(), "publications", publications);
  }

  private static Object describe(PresenceResult found) {
    List<String> users = new ArrayList<>();
    found.getClients().values().forEach(info -> users.add(info.getUser()));
    Collections.sort(users);
    return Map.of("users", users);
  }

  private static void perform(Client client, JsonObject command) throws Exception {
    int id = command.get("id").getAsInt();
    String channel = command.has("channel") ? command.get("channel").getAsString() : "";
    Object nothing = Map.of();
    switch (command.get("do").getAsString()) {
      case "connect" -> client.connect();
      case "disconnect" -> client.disconnect();
      case "subscribe" -> {
        Subscription known = client.getSubscription(channel);
        (known == null ? newSubscription(client, command) : known).subscribe();
      }
      case "unsubscribe" -> client.getSubscription(channel).unsubscribe();
      case "token" -> WAITING_FOR_TOKEN.take().Done(null, command.get("token").getAsString());
      case "publish" -> {
        client.publish(
            channel, pack(command.get("data")), (error, result) -> answer(id, error, nothing));
        return;
      }
      case "rpc" -> {
        String method = command.get("method").getAsString();
        client.rpc(
            method,
            pack(command.get("data")),
            (error, result) -> answer(id, error, result == null ? nothing : unpack(result.getData())));
        return;
      }
      case "send" -> {
        client.send(pack(command.get("data")), error -> answer(id, error, nothing));
        return;
      }
      case "history" -> {
        HistoryOptions options =
            new HistoryOptions.Builder().withLimit(command.get("limit").getAsInt()).build();
        client.history(
            channel,
            options,
            (error, result) -> answer(id, error, result == null ? nothing : describe(result)));
        return;
      }
      case "presence" -> {
        client.presence(
            channel,
            (error, result) -> answer(id, error, result == null ? nothing : describe(result)));
        return;
      }
      case "presence_stats" -> {
        client.presenceStats(
            channel,
            (error, result) ->
                answer(
                    id,
                    error,
                    result == null
                        ? nothing
                        : Map.of("clients", result.getNumClients(), "users", result.getNumUsers())));
        return;
      }
      default -> throw new IllegalArgumentException("no such command");
    }
    answer(id, null, nothing);
  }

  public static void main(String[] args) throws Exception {
    Client client = newClient();
    BufferedReader lines =
        new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line = lines.readLine(); line != null; line = lines.readLine()) {
      JsonObject command = JsonParser.parseString(line).getAsJsonObject();
      try {
        perform(client, command);
      } catch (Throwable error) {
        answer(command.get("id").getAsInt(), error, Map.of());
      }
    }
    System.exit(0);
  }
}
