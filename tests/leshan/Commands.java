import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collection;
import java.util.HexFormat;

import org.eclipse.californium.scandium.DTLSConnector;
import org.eclipse.leshan.core.ResponseCode;
import org.eclipse.leshan.core.endpoint.Protocol;
import org.eclipse.leshan.core.link.Link;
import org.eclipse.leshan.core.node.LwM2mObjectInstance;
import org.eclipse.leshan.core.node.LwM2mPath;
import org.eclipse.leshan.core.node.LwM2mResource;
import org.eclipse.leshan.core.observation.Observation;
import org.eclipse.leshan.core.observation.SingleObservation;
import org.eclipse.leshan.core.request.CancelObservationRequest;
import org.eclipse.leshan.core.request.ContentFormat;
import org.eclipse.leshan.core.request.CreateRequest;
import org.eclipse.leshan.core.request.DeleteRequest;
import org.eclipse.leshan.core.request.DiscoverRequest;
import org.eclipse.leshan.core.request.DownlinkDeviceManagementRequest;
import org.eclipse.leshan.core.request.ExecuteRequest;
import org.eclipse.leshan.core.request.ObserveRequest;
import org.eclipse.leshan.core.request.ReadRequest;
import org.eclipse.leshan.core.request.WriteRequest;
import org.eclipse.leshan.core.response.CreateResponse;
import org.eclipse.leshan.core.response.DiscoverResponse;
import org.eclipse.leshan.core.response.LwM2mResponse;
import org.eclipse.leshan.core.response.ReadResponse;
import org.eclipse.leshan.server.LeshanServer;
import org.eclipse.leshan.server.registration.Registration;
import org.eclipse.leshan.servers.security.EditableSecurityStore;
import org.eclipse.leshan.servers.security.SecurityInfo;
import org.eclipse.leshan.transport.californium.server.endpoint.CaliforniumServerEndpoint;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;

/** Commands: {"id": 1, "do": "read", "endpoint": "…", "path": "/9/0/7"} and what else each needs. */
final class Commands {

    private static final long TIMEOUT_MS = 60_000;

    private final LeshanServer server;
    private final EditableSecurityStore keys;
    private final Values values;

    Commands(LeshanServer server, EditableSecurityStore keys, Values values) {
        this.server = server;
        this.keys = keys;
        this.values = values;
    }

    /** Carries the command out; the answer bears its id, and a code or why there is none. */
    ObjectNode carryOut(JsonNode command) {
        ObjectNode answer = Json.object();
        answer.set("response", command.get("id"));
        try {
            switch (text(command, "do")) {
            case "registrations":
                ArrayNode all = answer.putArray("value");
                server.getRegistrationService().getAllRegistrations()
                        .forEachRemaining(one -> all.add(Events.described("registered", one)));
                break;
            case "know":
                keys.add(SecurityInfo.newPreSharedKeyInfo(text(command, "endpoint"), text(command, "identity"),
                        HexFormat.of().parseHex(text(command, "key"))));
                answer.putNull("value");
                break;
            case "forget-sessions":
                connector().clearConnectionState();
                answer.putNull("value");
                break;
            default:
                describe(send(command), answer);
            }
        } catch (Exception e) {
            answer.put("error", String.valueOf(e));
        }
        return answer;
    }

    private DTLSConnector connector() {
        CaliforniumServerEndpoint endpoint = (CaliforniumServerEndpoint) server.getEndpoint(Protocol.COAPS);
        return (DTLSConnector) endpoint.getCoapEndpoint().getConnector();
    }

    private LwM2mResponse send(JsonNode command) throws Exception {
        String endpoint = text(command, "endpoint");
        Registration registration = server.getRegistrationService().getByEndpoint(endpoint);
        if (registration == null) {
            throw new IllegalStateException(endpoint + " is not registered");
        }
        LwM2mResponse response = server.send(registration, request(command, registration), TIMEOUT_MS);
        if (response == null) {
            throw new IllegalStateException("no response within " + TIMEOUT_MS + " ms");
        }
        return response;
    }

    private DownlinkDeviceManagementRequest<?> request(JsonNode command, Registration registration)
            throws IOException {
        String path = text(command, "path");
        LwM2mPath target = new LwM2mPath(path);
        switch (text(command, "do")) {
        case "read":
            return new ReadRequest(format(command), path);
        case "discover":
            return new DiscoverRequest(path);
        case "write":
            return new WriteRequest(WriteRequest.Mode.REPLACE, format(command), target,
                    values.resource(target.getObjectId(), target.getResourceId(), command.get("value")));
        case "write-instance":
            return new WriteRequest(WriteRequest.Mode.REPLACE, ContentFormat.TLV, target.getObjectId(),
                    target.getObjectInstanceId(), resources(target, command));
        case "push":
            return new WriteRequest(ContentFormat.OPAQUE, target.getObjectId(), target.getObjectInstanceId(),
                    target.getResourceId(), Files.readAllBytes(Path.of(text(command, "file"))));
        case "execute":
            return command.has("arguments") ? new ExecuteRequest(path, text(command, "arguments"))
                    : new ExecuteRequest(path);
        case "create":
            return create(command, target);
        case "delete":
            return new DeleteRequest(path);
        case "observe":
            return new ObserveRequest(format(command), path);
        case "cancel":
            return new CancelObservationRequest(observation(registration, target));
        default:
            throw new IllegalArgumentException("no command " + command);
        }
    }

    private CreateRequest create(JsonNode command, LwM2mPath target) {
        Collection<LwM2mResource> resources = resources(target, command);
        if (command.has("instance")) {
            return new CreateRequest(ContentFormat.TLV, target.getObjectId(),
                    new LwM2mObjectInstance(command.get("instance").intValue(), resources));
        }
        return new CreateRequest(ContentFormat.TLV, target.getObjectId(), resources);
    }

    private Collection<LwM2mResource> resources(LwM2mPath target, JsonNode command) {
        return values.resources(target.getObjectId(), command.get("values"));
    }

    private SingleObservation observation(Registration registration, LwM2mPath path) {
        for (Observation observation : server.getObservationService().getObservations(registration)) {
            if (observation instanceof SingleObservation && ((SingleObservation) observation).getPath().equals(path)) {
                return (SingleObservation) observation;
            }
        }
        throw new IllegalStateException(path + " is not observed");
    }

    /** None where the command leaves it to Leshan. */
    private static ContentFormat format(JsonNode command) {
        return command.has("format") ? ContentFormat.fromName(text(command, "format")) : null;
    }

    private static String text(JsonNode command, String name) {
        if (!command.has(name)) {
            throw new IllegalArgumentException("no \"" + name + "\" in " + command);
        }
        return command.get(name).textValue();
    }

    private static void describe(LwM2mResponse response, ObjectNode answer) {
        answer.put("code", code(response.getCode()));
        if (response.isFailure()) {
            answer.put("message", response.getErrorMessage());
        } else if (response instanceof ReadResponse) {
            answer.set("value", Values.json(((ReadResponse) response).getContent()));
        } else if (response instanceof DiscoverResponse) {
            ArrayNode links = answer.putArray("value");
            for (Link link : ((DiscoverResponse) response).getObjectLinks()) {
                links.add(link.toCoreLinkFormat());
            }
        } else if (response instanceof CreateResponse) {
            answer.put("value", ((CreateResponse) response).getLocation());
        }
    }

    /** As it is written: 2.04. */
    static String code(ResponseCode code) {
        return String.format("%d.%02d", code.getCode() / 100, code.getCode() % 100);
    }
}
